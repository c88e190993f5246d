"""What a configuration imports: ``from buildwright.plugins import schedulers, steps, util, worker``.

Each name is a namespace whose parts are imported when they are first asked for, from the one table below; so
a configuration pays for what it uses. A name that doesn't exist is an AttributeError that names the nearest
one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from buildwright.model.errors import suggest

__all__ = ["changes", "schedulers", "secrets", "steps", "util", "worker"]

_AUTHZ: Final = "buildwright.model.authz"
_LOGINS: Final = "buildwright.model.logins"
_OAUTH: Final = "buildwright.model.oauth"
_PARAMETERS: Final = "buildwright.schedulers.parameters"
_RENDER: Final = "buildwright.model.render"
_REPO: Final = "buildwright.steps.repo"
_RESULTS: Final = "buildwright.model.results"
_ROLES: Final = "buildwright.model.roles"
_SVN_SPLIT: Final = "buildwright.changes.svnsplit"
_VSTUDIO: Final = "buildwright.steps.vstudio"

TABLE: Final[dict[str, dict[str, str]]] = {
    "changes": {
        "BitbucketPullrequestPoller": "buildwright.changes.bitbucket",
        "BzrLaunchpadEmailMaildirSource": "buildwright.changes.maildir_launchpad",
        "CVSMaildirSource": "buildwright.changes.maildir_cvs",
        "GerritChangeSource": "buildwright.changes.gerritstream",
        "GerritEventLogPoller": "buildwright.changes.gerritlog",
        "GitHubPullrequestPoller": "buildwright.changes.github",
        "GitPoller": "buildwright.changes.gitpoller",
        "HgPoller": "buildwright.changes.hgpoller",
        "MaildirSource": "buildwright.changes.maildir",
        "P4Source": "buildwright.changes.p4poller",
        "PBChangeSource": "buildwright.changes.pb",
        "SVNCommitEmailMaildirSource": "buildwright.changes.maildir",
        "SVNPoller": "buildwright.changes.svnpoller",
    },
    "schedulers": {
        "AnyBranchScheduler": "buildwright.schedulers.basic",
        "Dependent": "buildwright.schedulers.dependent",
        "ForceScheduler": "buildwright.schedulers.force",
        "Nightly": "buildwright.schedulers.timed",
        "NightlyTriggerable": "buildwright.schedulers.triggerable",
        "Periodic": "buildwright.schedulers.timed",
        "SingleBranchScheduler": "buildwright.schedulers.basic",
        "Triggerable": "buildwright.schedulers.triggerable",
        "Try_Jobdir": "buildwright.schedulers.tries",
        "Try_Userpass": "buildwright.schedulers.tries",
    },
    "secrets": {
        "HashiCorpVaultKvSecretProvider": "buildwright.model.secrets_vault",
        "SecretInAFile": "buildwright.model.secrets",
        "SecretInEnvironment": "buildwright.model.secrets",
        "SecretInPass": "buildwright.model.secrets_pass",
        "VaultAuthenticatorApprole": "buildwright.model.secrets_vault",
        "VaultAuthenticatorToken": "buildwright.model.secrets_vault",
    },
    "steps": {
        "Assert": "buildwright.steps.checks",
        "BuildStep": "buildwright.builds.step",
        "Bzr": "buildwright.steps.bzr",
        "CMake": "buildwright.steps.cmake",
        "CVS": "buildwright.steps.cvs",
        "Compile": "buildwright.steps.warnings",
        "CompileNewStyle": "buildwright.steps.newstyle",
        "CompositeStepMixin": "buildwright.steps.composite",
        "Configure": "buildwright.steps.shell",
        "ConfigureNewStyle": "buildwright.steps.newstyle",
        "CopyDirectory": "buildwright.steps.files",
        "Cppcheck": "buildwright.steps.cmake",
        "DELETE": "buildwright.steps.http",
        "Darcs": "buildwright.steps.darcs",
        "DebCowbuilder": "buildwright.steps.debian",
        "DebLintian": "buildwright.steps.debian",
        "DebPbuilder": "buildwright.steps.debian",
        "DirectoryUpload": "buildwright.steps.uploads",
        "FileDownload": "buildwright.steps.transfer",
        "FileExists": "buildwright.steps.files",
        "FileUpload": "buildwright.steps.transfer",
        "GET": "buildwright.steps.http",
        "Gerrit": "buildwright.steps.gitforges",
        "Git": "buildwright.steps.git",
        "GitCommit": "buildwright.steps.gitwrite",
        "GitDiffInfo": "buildwright.steps.gitdiff",
        "GitHub": "buildwright.steps.gitforges",
        "GitLab": "buildwright.steps.gitforges",
        "GitPush": "buildwright.steps.gitwrite",
        "GitTag": "buildwright.steps.gitwrite",
        "HEAD": "buildwright.steps.http",
        "HTTPStep": "buildwright.steps.http",
        "HTTPStepNewStyle": "buildwright.steps.http",
        "JSONPropertiesDownload": "buildwright.steps.transfer",
        "JSONStringDownload": "buildwright.steps.transfer",
        "LogRenderable": "buildwright.steps.checks",
        "MakeDirectory": "buildwright.steps.files",
        "MasterShellCommand": "buildwright.steps.master",
        "Mercurial": "buildwright.steps.mercurial",
        "Mock": "buildwright.steps.rpm",
        "MockBuildSRPM": "buildwright.steps.rpm",
        "MockRebuild": "buildwright.steps.rpm",
        "Monotone": "buildwright.steps.monotone",
        "MsBuild": _VSTUDIO,
        "MsBuild12": _VSTUDIO,
        "MsBuild14": _VSTUDIO,
        "MsBuild141": _VSTUDIO,
        "MsBuild15": _VSTUDIO,
        "MsBuild16": _VSTUDIO,
        "MsBuild17": _VSTUDIO,
        "MsBuild4": _VSTUDIO,
        "MultipleFileUpload": "buildwright.steps.uploads",
        "OPTIONS": "buildwright.steps.http",
        "P4": "buildwright.steps.p4",
        "POST": "buildwright.steps.http",
        "PUT": "buildwright.steps.http",
        "PerlModuleTest": "buildwright.steps.tests",
        "PerlModuleTestNewStyle": "buildwright.steps.newstyle",
        "PyFlakes": "buildwright.steps.python",
        "PyLint": "buildwright.steps.python",
        "RemoveDirectory": "buildwright.steps.files",
        "RemovePYCs": "buildwright.steps.shell",
        "Repo": _REPO,
        "Robocopy": "buildwright.steps.robocopy",
        "RpmBuild": "buildwright.steps.rpm",
        "RpmLint": "buildwright.steps.rpm",
        "SVN": "buildwright.steps.svn",
        "SetProperties": "buildwright.steps.setproperty",
        "SetPropertiesFromEnv": "buildwright.steps.setproperty",
        "SetProperty": "buildwright.steps.setproperty",
        "SetPropertyFromCommand": "buildwright.steps.setproperty",
        "SetPropertyFromCommandNewStyle": "buildwright.steps.newstyle",
        "ShellCommand": "buildwright.steps.shell",
        "ShellCommandNewStyle": "buildwright.steps.newstyle",
        "ShellMixin": "buildwright.builds.shell",
        "ShellSequence": "buildwright.steps.sequence",
        "Sphinx": "buildwright.steps.python",
        "Source": "buildwright.steps.source",
        "StringDownload": "buildwright.steps.transfer",
        "SubunitShellCommand": "buildwright.steps.subunit",
        "Test": "buildwright.steps.tests",
        "TestResults": "buildwright.steps.testresults",
        "TestNewStyle": "buildwright.steps.newstyle",
        "TreeSize": "buildwright.steps.shell",
        "Trial": "buildwright.steps.trial",
        "Trigger": "buildwright.steps.trigger",
        "UbuCowbuilder": "buildwright.steps.debian",
        "UbuPbuilder": "buildwright.steps.debian",
        "VC10": _VSTUDIO,
        "VC11": _VSTUDIO,
        "VC12": _VSTUDIO,
        "VC14": _VSTUDIO,
        "VC141": _VSTUDIO,
        "VC6": _VSTUDIO,
        "VC7": _VSTUDIO,
        "VC8": _VSTUDIO,
        "VC9": _VSTUDIO,
        "VCExpress9": _VSTUDIO,
        "VS2003": _VSTUDIO,
        "VS2005": _VSTUDIO,
        "VS2008": _VSTUDIO,
        "VS2010": _VSTUDIO,
        "VS2012": _VSTUDIO,
        "VS2013": _VSTUDIO,
        "VS2015": _VSTUDIO,
        "VS2017": _VSTUDIO,
        "VS2019": _VSTUDIO,
        "VS2022": _VSTUDIO,
        "WarningCountingShellCommand": "buildwright.steps.warnings",
        "WarningCountingShellCommandNewStyle": "buildwright.steps.newstyle",
    },
    "util": {
        "ALL_RESULTS": _RESULTS,
        "AnyControlEndpointMatcher": _AUTHZ,
        "AnyEndpointMatcher": _AUTHZ,
        "AnyPropertyParameter": _PARAMETERS,
        "Authz": _AUTHZ,
        "BaseParameter": _PARAMETERS,
        "BitbucketAuth": _OAUTH,
        "BufferLogObserver": "buildwright.builds.observers",
        "BasicBuildFactory": "buildwright.steps.factories",
        "BasicSVN": "buildwright.steps.factories",
        "BooleanParameter": _PARAMETERS,
        "BuildFactory": "buildwright.steps.secretfiles",
        "BuilderConfig": "buildwright.model.builders",
        "CANCELLED": _RESULTS,
        "CPAN": "buildwright.steps.factories",
        "ChangeFilter": "buildwright.model.filters",
        "ChoiceStringParameter": _PARAMETERS,
        "Codebase": "buildwright.model.projects",
        "CodebaseParameter": _PARAMETERS,
        "CustomAuth": _LOGINS,
        "Distutils": "buildwright.steps.factories",
        "EXCEPTION": _RESULTS,
        "EnableSchedulerEndpointMatcher": _AUTHZ,
        "EndpointMatcherBase": _AUTHZ,
        "FAILURE": _RESULTS,
        "FailingBuildsetCanceller": "buildwright.schedulers.cancellers",
        "FileParameter": _PARAMETERS,
        "FixedParameter": _PARAMETERS,
        "FlattenList": _RENDER,
        "ForceBuildEndpointMatcher": _AUTHZ,
        "GNUAutoconf": "buildwright.steps.factories",
        "GerritChangeFilter": "buildwright.changes.gerrit",
        "GitCredentialInputRenderer": "buildwright.model.gitaccess",
        "GitCredentialOptions": "buildwright.model.gitaccess",
        "GitHubAuth": _OAUTH,
        "GitLabAuth": _OAUTH,
        "GoogleAuth": _OAUTH,
        "HTPasswdAuth": _LOGINS,
        "InheritBuildParameter": _PARAMETERS,
        "IntParameter": _PARAMETERS,
        "Interpolate": _RENDER,
        "JanitorConfigurator": "buildwright.schedulers.janitor",
        "LineConsumerLogObserver": "buildwright.builds.observers",
        "LogLineObserver": "buildwright.builds.observers",
        "LogObserver": "buildwright.builds.observers",
        "MasterLock": "buildwright.model.locks",
        "NestedParameter": _PARAMETERS,
        "OIDCAuth": _OAUTH,
        "OldBuildCanceller": "buildwright.schedulers.cancellers",
        "ParameterGroup": _PARAMETERS,
        "PatchParameter": _PARAMETERS,
        "Properties": "buildwright.model.properties",
        "Project": "buildwright.model.projects",
        "Property": _RENDER,
        "QuickBuildFactory": "buildwright.steps.factories",
        "RETRY": _RESULTS,
        "RebuildBuildEndpointMatcher": _AUTHZ,
        "RemoteCommand": "buildwright.builds.commands",
        "RemoteUserAuth": _LOGINS,
        "Results": _RESULTS,
        "Retention": "buildwright.model.retention",
        "RevlinkMatch": "buildwright.model.revlinks",
        "RolesFromBase": _ROLES,
        "RolesFromDomain": _ROLES,
        "RolesFromEmails": _ROLES,
        "RolesFromGroups": _ROLES,
        "RolesFromOwner": _ROLES,
        "RolesFromUsername": _ROLES,
        "SKIPPED": _RESULTS,
        "SUCCESS": _RESULTS,
        "Secret": _RENDER,
        "ShellArg": "buildwright.steps.sequence",
        "SourceStampFilter": "buildwright.model.filters",
        "StopBuildEndpointMatcher": _AUTHZ,
        "StringParameter": _PARAMETERS,
        "TextParameter": _PARAMETERS,
        "Transform": _RENDER,
        "Trial": "buildwright.steps.factories",
        "URLForBuild": "buildwright.builds.build",
        "UserNameParameter": _PARAMETERS,
        "UserPasswordAuth": _LOGINS,
        "WARNINGS": _RESULTS,
        "WithProperties": _RENDER,
        "WorkerChoiceParameter": _PARAMETERS,
        "WorkerLock": "buildwright.model.locks",
        "enforceChosenWorker": _PARAMETERS,
        "fnmatchStrMatcher": _AUTHZ,
        "reStrMatcher": _AUTHZ,
        "renderer": _RENDER,
        "repo.DownloadsFromChangeSource": _REPO,
        "repo.DownloadsFromProperties": _REPO,
        "statusToString": _RESULTS,
        "svn.split_file_alwaystrunk": _SVN_SPLIT,
        "svn.split_file_branches": _SVN_SPLIT,
        "svn.split_file_projects_branches": _SVN_SPLIT,
    },
    "worker": {
        "LocalWorker": "buildwright.model.workers",
        "Worker": "buildwright.model.workers",
    },
}


class NoSuchName(AttributeError):
    """A name that a namespace doesn't have; ``hint`` says which one may be meant, or why it isn't there."""

    def __init__(self, namespace: str, name: str, obj: object) -> None:
        from buildwright.model.absent import NAMES

        near = suggest(name, TABLE[namespace])
        elsewhere = next((other for other, names in TABLE.items() if name in names), None)
        why = NAMES.get(f"{namespace}.{name}")
        self.hint = str(why) if why else f"it is {elsewhere}.{name}" if elsewhere is not None else near
        super().__init__(f"buildwright.plugins.{namespace} has no {name!r}", name=name, obj=obj)


class Namespace:
    """One of the namespaces: its attributes are the table's names. One within it has those that begin with
    its name and a dot.
    """

    def __init__(self, name: str, within: str = "") -> None:
        self._name = name
        self._within = within

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = self._within + name
        module = TABLE[self._name].get(full)
        if module is not None:
            value = getattr(importlib.import_module(module), full.rpartition(".")[2])
        elif any(each.startswith(f"{full}.") for each in TABLE[self._name]):
            value = Namespace(self._name, f"{full}.")
        else:
            raise NoSuchName(self._name, full, self)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        names = (each for each in TABLE[self._name] if each.startswith(self._within))
        return sorted({each.removeprefix(self._within).partition(".")[0] for each in names})

    def __repr__(self) -> str:
        return f"<namespace buildwright.plugins.{self._name}.{self._within}".rstrip(".") + ">"


if TYPE_CHECKING:  # what the table gives, for type checkers and editors; a test compares the two

    class changes:  # noqa: N801 - a namespace
        from buildwright.changes.bitbucket import BitbucketPullrequestPoller
        from buildwright.changes.gerritlog import GerritEventLogPoller
        from buildwright.changes.gerritstream import GerritChangeSource
        from buildwright.changes.github import GitHubPullrequestPoller
        from buildwright.changes.gitpoller import GitPoller
        from buildwright.changes.hgpoller import HgPoller
        from buildwright.changes.maildir import MaildirSource, SVNCommitEmailMaildirSource
        from buildwright.changes.maildir_cvs import CVSMaildirSource
        from buildwright.changes.maildir_launchpad import BzrLaunchpadEmailMaildirSource
        from buildwright.changes.p4poller import P4Source
        from buildwright.changes.pb import PBChangeSource
        from buildwright.changes.svnpoller import SVNPoller

    class schedulers:  # noqa: N801 - a namespace
        from buildwright.schedulers.basic import AnyBranchScheduler, SingleBranchScheduler
        from buildwright.schedulers.dependent import Dependent
        from buildwright.schedulers.force import ForceScheduler
        from buildwright.schedulers.timed import Nightly, Periodic
        from buildwright.schedulers.tries import Try_Jobdir, Try_Userpass
        from buildwright.schedulers.triggerable import NightlyTriggerable, Triggerable

    class secrets:  # noqa: N801 - a namespace
        from buildwright.model.secrets import SecretInAFile, SecretInEnvironment
        from buildwright.model.secrets_pass import SecretInPass
        from buildwright.model.secrets_vault import (
            HashiCorpVaultKvSecretProvider,
            VaultAuthenticatorApprole,
            VaultAuthenticatorToken,
        )

    class steps:  # noqa: N801 - a namespace
        from buildwright.builds.shell import ShellMixin
        from buildwright.builds.step import BuildStep
        from buildwright.steps.bzr import Bzr
        from buildwright.steps.checks import Assert, LogRenderable
        from buildwright.steps.cmake import CMake, Cppcheck
        from buildwright.steps.composite import CompositeStepMixin
        from buildwright.steps.cvs import CVS
        from buildwright.steps.darcs import Darcs
        from buildwright.steps.debian import (
            DebCowbuilder,
            DebLintian,
            DebPbuilder,
            UbuCowbuilder,
            UbuPbuilder,
        )
        from buildwright.steps.files import CopyDirectory, FileExists, MakeDirectory, RemoveDirectory
        from buildwright.steps.git import Git
        from buildwright.steps.gitdiff import GitDiffInfo
        from buildwright.steps.gitforges import Gerrit, GitHub, GitLab
        from buildwright.steps.gitwrite import GitCommit, GitPush, GitTag
        from buildwright.steps.http import (
            DELETE,
            GET,
            HEAD,
            OPTIONS,
            POST,
            PUT,
            HTTPStep,
            HTTPStepNewStyle,
        )
        from buildwright.steps.master import MasterShellCommand
        from buildwright.steps.mercurial import Mercurial
        from buildwright.steps.monotone import Monotone
        from buildwright.steps.newstyle import (
            CompileNewStyle,
            ConfigureNewStyle,
            PerlModuleTestNewStyle,
            SetPropertyFromCommandNewStyle,
            ShellCommandNewStyle,
            TestNewStyle,
            WarningCountingShellCommandNewStyle,
        )
        from buildwright.steps.p4 import P4
        from buildwright.steps.python import PyFlakes, PyLint, Sphinx
        from buildwright.steps.repo import Repo
        from buildwright.steps.robocopy import Robocopy
        from buildwright.steps.rpm import Mock, MockBuildSRPM, MockRebuild, RpmBuild, RpmLint
        from buildwright.steps.sequence import ShellSequence
        from buildwright.steps.setproperty import (
            SetProperties,
            SetPropertiesFromEnv,
            SetProperty,
            SetPropertyFromCommand,
        )
        from buildwright.steps.shell import Configure, RemovePYCs, ShellCommand, TreeSize
        from buildwright.steps.source import Source
        from buildwright.steps.subunit import SubunitShellCommand
        from buildwright.steps.svn import SVN
        from buildwright.steps.testresults import TestResults
        from buildwright.steps.tests import PerlModuleTest, Test
        from buildwright.steps.transfer import (
            FileDownload,
            FileUpload,
            JSONPropertiesDownload,
            JSONStringDownload,
            StringDownload,
        )
        from buildwright.steps.trial import Trial
        from buildwright.steps.trigger import Trigger
        from buildwright.steps.uploads import DirectoryUpload, MultipleFileUpload
        from buildwright.steps.vstudio import (
            VC6,
            VC7,
            VC8,
            VC9,
            VC10,
            VC11,
            VC12,
            VC14,
            VC141,
            VS2003,
            VS2005,
            VS2008,
            VS2010,
            VS2012,
            VS2013,
            VS2015,
            VS2017,
            VS2019,
            VS2022,
            MsBuild,
            MsBuild4,
            MsBuild12,
            MsBuild14,
            MsBuild15,
            MsBuild16,
            MsBuild17,
            MsBuild141,
            VCExpress9,
        )
        from buildwright.steps.warnings import Compile, WarningCountingShellCommand

    class util:  # noqa: N801 - a namespace
        from buildwright.builds.build import URLForBuild
        from buildwright.builds.commands import RemoteCommand
        from buildwright.builds.observers import (
            BufferLogObserver,
            LineConsumerLogObserver,
            LogLineObserver,
            LogObserver,
        )
        from buildwright.changes.gerrit import GerritChangeFilter
        from buildwright.model.authz import (  # type: ignore[misc]  # functions within a class
            AnyControlEndpointMatcher,
            AnyEndpointMatcher,
            Authz,
            EnableSchedulerEndpointMatcher,
            EndpointMatcherBase,
            ForceBuildEndpointMatcher,
            RebuildBuildEndpointMatcher,
            StopBuildEndpointMatcher,
            fnmatchStrMatcher,
            reStrMatcher,
        )
        from buildwright.model.builders import BuilderConfig
        from buildwright.model.filters import ChangeFilter, SourceStampFilter
        from buildwright.model.gitaccess import GitCredentialInputRenderer, GitCredentialOptions
        from buildwright.model.locks import MasterLock, WorkerLock
        from buildwright.model.logins import (
            CustomAuth,
            HTPasswdAuth,
            RemoteUserAuth,
            UserPasswordAuth,
        )
        from buildwright.model.oauth import (
            BitbucketAuth,
            GitHubAuth,
            GitLabAuth,
            GoogleAuth,
            OIDCAuth,
        )
        from buildwright.model.projects import Codebase, Project
        from buildwright.model.properties import Properties
        from buildwright.model.render import (
            FlattenList,
            Interpolate,
            Property,
            Secret,
            Transform,
            WithProperties,
            renderer,
        )
        from buildwright.model.results import (
            ALL_RESULTS,
            CANCELLED,
            EXCEPTION,
            FAILURE,
            RETRY,
            SKIPPED,
            SUCCESS,
            WARNINGS,
            Results,
            statusToString,
        )
        from buildwright.model.retention import Retention
        from buildwright.model.revlinks import RevlinkMatch
        from buildwright.model.roles import (
            RolesFromBase,
            RolesFromDomain,
            RolesFromEmails,
            RolesFromGroups,
            RolesFromOwner,
            RolesFromUsername,
        )
        from buildwright.schedulers.cancellers import FailingBuildsetCanceller, OldBuildCanceller
        from buildwright.schedulers.janitor import JanitorConfigurator
        from buildwright.schedulers.parameters import (
            AnyPropertyParameter,
            BaseParameter,
            BooleanParameter,
            ChoiceStringParameter,
            CodebaseParameter,
            FileParameter,
            FixedParameter,
            InheritBuildParameter,
            IntParameter,
            NestedParameter,
            ParameterGroup,
            PatchParameter,
            StringParameter,
            TextParameter,
            UserNameParameter,
            WorkerChoiceParameter,
            enforceChosenWorker,
        )
        from buildwright.steps.factories import (
            CPAN,
            BasicBuildFactory,
            BasicSVN,
            Distutils,
            GNUAutoconf,
            QuickBuildFactory,
            Trial,
        )
        from buildwright.steps.secretfiles import BuildFactory
        from buildwright.steps.sequence import ShellArg

        class repo:  # noqa: N801 - a namespace
            from buildwright.steps.repo import DownloadsFromChangeSource, DownloadsFromProperties

        class svn:  # noqa: N801 - a namespace
            from buildwright.changes.svnsplit import (  # type: ignore[misc]  # functions within a class
                split_file_alwaystrunk,
                split_file_branches,
                split_file_projects_branches,
            )

    class worker:  # noqa: N801 - a namespace
        from buildwright.model.workers import LocalWorker, Worker

else:
    changes = Namespace("changes")
    schedulers = Namespace("schedulers")
    secrets = Namespace("secrets")
    steps = Namespace("steps")
    util = Namespace("util")
    worker = Namespace("worker")
