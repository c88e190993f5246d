"""The keys of BuildmasterConfig: what each takes, and what is said at its line if it is something else."""

from pathlib import Path
from typing import Any

import pytest

from buildwright.config.network import Endpoint, parse_port
from buildwright.model.snapshot import WorkerEndpoint, WwwConfig
from tests.config.support import WHOLE, Site


def test_a_whole_configuration(site: Site) -> None:
    site.write("keys/secret.pem", "")
    snapshot = site.load(
        WHOLE
        + """
c['title'] = 'Ours'
c['titleURL'] = 'http://ours/'
c['buildbotURL'] = 'http://ci.ours'
c['properties'] = {'a': 1}
c['db_url'] = 'postgresql://localhost/ci'
c['collapseRequests'] = False
c['logEncoding'] = 'latin-1'
c['validation'] = {'branch': r'\\w+$'}
c['buildbotNetUsageData'] = None
c['multiMaster'] = True
c['prioritizeBuilders'] = lambda master, builders: builders
c['logMaxSize'], c['logMaxTailSize'] = 1000, 100
c['www'] = dict(port='tcp:8011:interface=127.0.0.1', tokens={'cli': 'x' * 16}, debug=True,
                ssl={'certificate': 'keys/secret.pem', 'private_key': 'keys/secret.pem'})
c['protocols'] = {'buildwright': {'port': 9990, 'interface': '::1'}, 'null': {}}
"""
    )
    assert snapshot.title == "Ours"
    assert snapshot.title_url == "http://ours/"
    assert snapshot.buildbot_url == "http://ci.ours/"
    assert snapshot.properties.asDict() == {"a": (1, "master.cfg")}
    assert snapshot.db_url == "postgresql://localhost/ci"
    assert snapshot.collapse_requests is False
    assert snapshot.log_encoding == "iso8859-1"
    assert snapshot.validation["branch"].match("main")
    assert snapshot.multi_master
    assert callable(snapshot.prioritize_builders)
    assert (snapshot.log_max_size, snapshot.log_max_tail_size) == (1000, 100)
    pem = site.directory / "keys/secret.pem"
    assert snapshot.www == WwwConfig(8011, "127.0.0.1", pem, pem, tokens={"cli": "x" * 16}, debug=True)
    assert snapshot.protocols == WorkerEndpoint(9990, "::1")
    assert list(snapshot.builders) == ["b1"]
    assert list(snapshot.workers) == ["w1"]
    assert list(snapshot.schedulers) == ["s1"]
    assert snapshot.warnings == ()
    assert snapshot.sources == (site.directory / "master.cfg",)


def test_defaults(site: Site) -> None:
    snapshot = site.load(WHOLE)
    assert snapshot.db_url == "sqlite:///state.sqlite"
    assert snapshot.www.interface is None
    assert snapshot.protocols == WorkerEndpoint()
    assert snapshot.collapse_requests is None
    assert not snapshot.multi_master
    assert snapshot.basedir == site.directory
    assert snapshot.revlink("ab12", "https://github.com/o/n.git") == "https://github.com/o/n/commit/ab12"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c['titel'] = 'x'", "unknown key c['titel'] (did you mean 'title'?)"),
        ("c[3] = 'x'", "unknown key c[3] (known here: "),
        ("c['titleURL'] = None", "c['titleURL'] must be text, not None"),
        ("c['multiMaster'] = 1", "c['multiMaster'] must be True or False, not int 1"),
        (
            "c['collapseRequests'] = 'no'",
            "c['collapseRequests'] must be True, False or a function, not str 'no'",
        ),
        ("c['codebaseGenerator'] = {}", "c['codebaseGenerator'] must be a function, not dict"),
        (
            "c['buildbotNetUsageData'] = 'all'",
            "c['buildbotNetUsageData'] must be None, 'basic', 'full' or a function",
        ),
        ("c['logEncoding'] = 'utf-88'", "c['logEncoding']: there is no encoding 'utf-88'"),
        ("c['properties'] = {'a': {1}}", "c['properties']['a']: a value of type set can't be stored"),
        ("c['properties'] = []", "c['properties'] must be a dict, not list"),
        (
            "c['validation'] = {'branch': '('}",
            "c['validation']['branch'] must be a regular expression: missing )",
        ),
        (
            "c['validation'] = {'brunch': 'x'}",
            "unknown key c['validation']['brunch'] (did you mean 'branch'?)",
        ),
        ("c['db'] = {'url': 'x'}", "unknown key c['db']['url'] (did you mean 'db_url'?)"),
        ("c['db_url'] = 3", "c['db_url'] must be the URL of a database, not int 3"),
        ("c['db_url'] = 'x'; c['db'] = {'db_url': 'y'}", "both c['db_url'] and c['db']['db_url'] are given"),
        ("c['secretsProviders'] = [{}]", "c['secretsProviders'][0] must be a provider, not dict"),
        (
            "c['secretsProviders'] = [secrets.SecretInAFile]",
            "c['secretsProviders'][0] must be a provider, not type",
        ),
        ("c['mq'] = {'type': 'amqp'}", "c['mq']['type'] must be 'simple' or 'wamp', not str 'amqp'"),
        ("c['manhole'] = object()", "c['manhole'] is refused: a console in the running master lets everyone"),
        ("c['user_managers'] = [1]", "c['user_managers'] is refused: there are no stored users"),
        ("c['machines'] = [1]", "c['machines'] isn't supported yet: machines of workers"),
        ("c['logCompressionLimit'] = -1", "c['logCompressionLimit'] must not be negative, and is -1"),
        (
            "c['logCompressionLimit'] = '5'",
            "c['logCompressionLimit'] must be a number of bytes, False or None, not str '5' (write it",
        ),
        ("c['metrics'] = 60", "c['metrics'] must be a dict or None, not int 60"),
        ("c['metrics'] = {'log_intervall': 5}", "unknown key c['metrics']['log_intervall'] (did you mean"),
        ("c['metrics'] = {'log_interval': -5}", "c['metrics']['log_interval'] must not be negative"),
        (
            "c['metrics'] = {'log_interval': 'often'}",
            "c['metrics']['log_interval'] must be a number of seconds, not str 'often'",
        ),
        ("c['logMaxSize'] = -1", "c['logMaxSize'] must not be negative, and is -1"),
        ("c['logMaxTailSize'] = '9'", "c['logMaxTailSize'] must be a number of bytes or None, not str '9'"),
        ("c['logCompressionMethod'] = 'zip'", "c['logCompressionMethod']: there is no method 'zip'"),
        ("c['slaves'] = [1]", "c['slaves'] is a name of old versions (now: c['workers'] = [worker.Worker("),
        ("c['slavePortnum'] = 9989", "c['slavePortnum'] is a name of old versions (now: nothing: workers"),
        ("c['status'] = [1]", "c['status'] is a name of old versions (now: c['services']"),
        ("c['mergeRequests'] = True", "c['mergeRequests'] is a name of old versions (now: c['collapseReq"),
        ("c['projectName'] = 'x'", "c['projectName'] is a name of old versions (now: c['title'])"),
        ("c['projectURL'] = 'x'", "c['projectURL'] is a name of old versions (now: c['titleURL'])"),
        ("c['eventHorizon'] = 50", "c['eventHorizon'] is a name of old versions (now: c['retention']"),
        ("c['caches'] = 3", "c['caches'] must be a dict of name to size, not int 3"),
        ("c['configurators'] = [3]", "c['configurators'][0] has no method 'configure'"),
        ("c['www'] = 8010", "c['www'] must be a dict, not int 8010"),
        ("c['www']['auth'] = {'ann': 'x'}", "c['www']['auth'] must be a way to log in, not dict (as in util"),
        (
            "c['www']['authz'] = object()",
            "c['www']['authz'] must be a util.Authz, not object (as in util.Auth",
        ),
        ("c['www']['cookie_expiration_time'] = 0", "c['www']['cookie_expiration_time'] must be above 0"),
        (
            "c['www']['cookie_expiration_time'] = '1 week'",
            "c['www']['cookie_expiration_time'] must be a timedelta, not str '1 week'",
        ),
        ("c['www']['port'] = 'tcp:x'", "c['www']['port']: 'tcp:x' names no port"),
        ("c['www']['theme'] = 3", "c['www']['theme'] must be a dict, not int 3"),
        (
            "c['www']['ssl'] = {'certificate': 'absent.pem'}",
            "c['www']['ssl']['certificate']: there is no file",
        ),
        (
            "c['www']['ssl'] = True",
            "c['www']['ssl'] must be a dict with 'certificate' and 'private_key', not bool",
        ),
        (
            "c['www']['tokens'] = {'cli': 'short'}",
            "c['www']['tokens']['cli'] must be text of at least 16 characters",
        ),
        (
            "c['www']['allowed_origins'] = 3",
            "c['www']['allowed_origins'] must be a list of origins, not int 3",
        ),
        (
            "c['protocols'] = {'buildrite': {}}",
            "unknown key c['protocols']['buildrite'] (did you mean 'buildwright'?)",
        ),
        (
            "c['protocols'] = {'buildwright': 9989}",
            "c['protocols']['buildwright'] must be a dict, not int 9989",
        ),
        ("c['workers'] = 'w1'", "c['workers'] must be a list, not str 'w1'"),
        ("c['workers'].append('w2')", "c['workers'][1] must be a worker, not str 'w2' (as in worker.Worker"),
        ("c['builders'].append(None)", "c['builders'][1] must be a BuilderConfig, not None"),
        ("c['schedulers'].append(3)", "c['schedulers'][1] must be a scheduler, not int 3"),
    ],
)
def test_a_mistake_is_reported_at_the_line_of_its_key(line: str, said: str, site: Site) -> None:
    errors = site.refused(f"{WHOLE}{line}\n")
    (found,) = [error for error in errors if said in error]
    key = line.partition(" = ")[0]
    at = {
        "c['workers'].append('w2')": 4,
        "c['builders'].append(None)": 5,
        "c['schedulers'].append(3)": 6,
    }.get(key, 8)
    assert found.startswith(f"master.cfg:{at}: {said}")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("c['www'] = {\n 'port': 8010,\n 'debag': 1}", 10),
        ("c['www'] = dict(\n port=8010,\n debag=1)", 10),
        ("c['www'].update({\n 'debag': 1})", 9),
        ("c['www'].update(\n\n debag=1)", 10),
        ("c.update(www=dict(port=8010,\n debag=1))", 9),
        ("for key in ['debag']:\n    c['www'][key] = 1", 7),
        ("def more(config):\n    config['www']['debag'] = 1\nmore(c)", 7),
        ("c['www']['port'] = 8010\nc['www']['debag'] = 1", 9),
    ],
)
def test_the_line_of_a_key(text: str, at: int, site: Site) -> None:
    assert site.refused(f"{WHOLE}{text}\n") == [
        f"master.cfg:{at}: unknown key c['www']['debag'] (did you mean 'debug'?)"
    ]


def test_a_key_set_in_another_file(site: Site) -> None:
    site.write("web.py", "def configure(config):\n    config['www']['debag'] = 1\n")
    assert site.refused(f"{WHOLE}import web\nweb.configure(c)\n") == [
        "web.py:2: unknown key c['www']['debag'] (did you mean 'debug'?)"
    ]


def test_other_names_of_the_dict(site: Site) -> None:
    text = WHOLE.replace("c = BuildmasterConfig = {}", "config = {}\nBuildmasterConfig = config").replace(
        "c[", "config["
    )
    assert site.refused(f"{text}config['titel'] = 1\n") == [
        "master.cfg:9: unknown key c['titel'] (did you mean 'title'?)"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c['protocols'] = {'pb': {'port': 9989}}", "c['protocols']['pb'] has no effect"),
        (
            "c['protocols'] = {'msgpack_experimental_v7': {}}",
            "c['protocols']['msgpack_experimental_v7'] has no effect",
        ),
        ("c['caches'] = {'Builds': 500}", "c['caches'] has no effect: rows are read where they are needed"),
        ("c['buildCacheSize'] = 5", "c['buildCacheSize'] has no effect: rows are read where"),
        ("c['changeCacheSize'] = 5", "c['changeCacheSize'] has no effect: rows are read where"),
        ("c['logCompressionMethod'] = 'lz4'", "c['logCompressionMethod'] has no effect: finished logs are"),
        ("c['logMaxTailSize'] = 9", "c['logMaxTailSize'] has no effect without c['logMaxSize']"),
        (
            "c['mq'] = {'type': 'wamp', 'realm': 'ci'}",
            "c['mq'] has no effect: masters meet in their database",
        ),
        (
            "c['www']['plugins'] = {'waterfall_view': {}}",
            "c['www']['plugins']['waterfall_view'] has no effect: the page has its",
        ),
        (
            "c['www']['change_hook_dialects'] = {'github': {}}",
            "c['www']['change_hook_dialects'] has no effect yet: hooks of forges; GitPoller sees",
        ),
        ("c['db'] = {'engine_kwargs': {'echo': True}}", "c['db']['engine_kwargs'] has no effect"),
    ],
)
def test_what_has_no_effect_is_said(line: str, said: str, site: Site) -> None:
    (warning,) = site.warned(f"{WHOLE}{line}\n")
    assert warning.startswith(f"master.cfg:8: {said}")


@pytest.mark.parametrize(
    "line",
    [
        "c['buildbotNetUsageData'] = 'basic'",
        "c['status'] = []",
        "c['services'] = []",
        "c['metrics'] = None",
        "c['mq'] = {'type': 'simple'}",
        "c['change_source'] = []",
        "c['www']['auth'] = None",
        "c['www']['plugins'] = {}",
    ],
)
def test_what_asks_for_nothing_is_accepted_in_silence(line: str, site: Site) -> None:
    assert site.warned(f"{WHOLE}{line}\n") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (8010, Endpoint(8010)),
        ("8010", Endpoint(8010)),
        ("tcp:8010", Endpoint(8010)),
        ("tcp:port=8010", Endpoint(8010)),
        ("tcp:8010:interface=127.0.0.1", Endpoint(8010, "127.0.0.1")),
        (r"tcp:8010:interface=\:\:1", Endpoint(8010, "::1")),
        ("ssl:port=8010:privateKey=k.pem:certKey=c.pem", Endpoint(8010, None, "c.pem", "k.pem")),
        ("ssl:8010:privateKey=both.pem", Endpoint(8010, None, "both.pem", "both.pem")),
        (True, "a port must be a number"),
        (70000, "70000 is no port"),
        ("tcp:70000", "70000 is no port"),
        ("unix:/tmp/socket", "no endpoint that this version knows"),
        ("tcp:8010:backlog=5", "'backlog' is not known here"),
        ("tcp:8010:127.0.0.1", "'127.0.0.1' should be name=value"),
        ("ssl:8010", "names no privateKey"),
        ("http", "no endpoint"),
    ],
)
def test_ports(value: Any, expected: Any) -> None:
    found = parse_port(value)
    if isinstance(expected, str):
        assert isinstance(found, str)
        assert expected in found
    else:
        assert found == expected


def test_configurators_change_the_dict_before_it_is_checked(site: Site) -> None:
    more = """
class Titled:
    def configure(self, config):
        config['title'] = 'Titled'
        self.broken
c['configurators'] = [Titled()]
"""
    assert site.refused(WHOLE + more) == [
        "master.cfg:12: AttributeError: 'Titled' object has no attribute 'broken'"
    ]
    assert site.load((WHOLE + more).replace("        self.broken\n", "")).title == "Titled"


def test_a_link_of_ones_own_stands_for_the_default(site: Site) -> None:
    text = "c['revlink'] = util.RevlinkMatch(r'https://git.example/(.*)', r'https://web.example/\\1/%s')"
    snapshot = site.load(f"{WHOLE}{text}\n")
    assert snapshot.revlink("ab12", "https://git.example/n") == "https://web.example/n/ab12"
    assert snapshot.revlink("ab12", "https://github.com/o/n.git") is None


async def test_secrets_providers_are_asked_in_their_order(site: Site) -> None:
    for directory, names in (("first", ["a"]), ("second", ["a", "b"])):
        for name in names:
            site.write(f"{directory}/{name}", f"{name} of {directory}\n").chmod(0o600)
    snapshot = site.load(
        f"{WHOLE}directories = [basedir + '/first', basedir + '/second']\n"
        "c['secretsProviders'] = [secrets.SecretInAFile(each) for each in directories]\n"
    )
    assert [await snapshot.secret(name) for name in ("a", "b", "c")] == ["a of first", "b of second", None]


def test_a_secret_that_others_may_read_is_an_error_of_the_configuration(site: Site) -> None:
    site.write("keys/a", "x").chmod(0o644)
    (error,) = site.refused(f"{WHOLE}c['secretsProviders'] = [secrets.SecretInAFile(basedir + '/keys')]\n")
    assert error.startswith("master.cfg:8: SecretInAFile: others may read or write 'keys/a' (mode 644)")


def test_paths_are_relative_to_the_base_directory(site: Site, tmp_path: Path) -> None:
    from buildwright.config.loader import load

    config = site.write("etc/master.cfg", f"{WHOLE}c['title'] = basedir\n")
    assert load(config, tmp_path / "base").title == str(tmp_path / "base")
