"""Files and mappings of try jobs: every version of the format, and what is wrong with one."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.schedulers.tryjobs import BadJob, TryJob, file_of_job, job_of, job_of_file


def netstrings(*words: str | bytes) -> bytes:
    found = [word.encode() if isinstance(word, str) else word for word in words]
    return b"".join(b"%d:%s," % (len(word), word) for word in found)


FIRST = ("1-ann", "main", "abc", "1", "--- a\n+++ b\nä\n")
PATCH = FIRST[4].encode()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("1", *FIRST, "b1", "b2"), {"builder_names": ("b1", "b2")}),
        (("1", *FIRST), {}),
        (("2", *FIRST, "repo", "web", "b1"), {"repository": "repo", "project": "web"}),
        (("3", *FIRST, "repo", "web", "ann", "b1"), {"project": "web", "who": "ann"}),
        (
            ("4", *FIRST, "repo", "web", "ann", "try it", "b1"),
            {"who": "ann", "comment": "try it", "builder_names": ("b1",)},
        ),
    ],
)
def test_versions_of_one_netstring_a_field(words: tuple[str, ...], expected: dict[str, Any]) -> None:
    job = job_of_file(netstrings(*words))
    assert (job.jobid, job.branch, job.baserev, job.patch_level) == ("1-ann", "main", "abc", 1)
    assert job.patch_body == PATCH
    assert {name: getattr(job, name) for name in expected} == expected


def test_any_bytes_in_a_patch() -> None:
    body = bytes(range(256))
    assert job_of_file(netstrings("1", "j", "", "", "0", body)).patch_body == body


@pytest.mark.parametrize(
    ("version", "patch"),
    [
        ("5", {"patch_body": PATCH.decode()}),
        ("6", {"patch_body": base64.b64encode(PATCH).decode()}),
        ("6", {"patch_body_base64": base64.b64encode(PATCH).decode()}),
    ],
)
def test_versions_of_json(version: str, patch: dict[str, str]) -> None:
    fields = {
        "jobid": "1-ann",
        "branch": None,
        "baserev": "abc",
        "patch_level": 1,
        "repository": "repo",
        "project": "",
        "who": "ann",
        "comment": "try it",
        "builderNames": ["b1"],
        "properties": {"x": [1]},
        **patch,
    }
    job = job_of_file(netstrings(version, json.dumps(fields)))
    assert job == TryJob("1-ann", "", "abc", 1, PATCH, "repo", "", None, "ann", "try it", ("b1",), {"x": [1]})


@given(
    st.builds(
        TryJob,
        jobid=st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        patch_level=st.integers(0, 100),
        patch_body=st.binary(),
        builder_names=st.lists(st.text(st.characters(codec="utf-8"))).map(tuple),
        properties=st.dictionaries(st.text(st.characters(codec="utf-8")), st.booleans()),
    )
)
def test_what_is_written_is_read(job: TryJob) -> None:
    assert job_of_file(file_of_job(job)) == job


@given(st.binary(max_size=60))
def test_anything_else_is_refused_with_a_word(content: bytes) -> None:
    with contextlib.suppress(BadJob):
        assert isinstance(job_of_file(content), TryJob)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its version is '', and 1 to 6 are known"),
        (b"hello", "at byte 0 there is no length"),
        (b"1:5", "has no end"),
        (netstrings("7", "x"), "its version is '7'"),
        (netstrings("1", "j", "b"), "at least 6 netstrings, not 3"),
        (netstrings("1", "j", "b", "r", "one", "p"), "patch_level: it must be a whole number"),
        (netstrings("5", "{"), "its JSON can't be read"),
        (netstrings("5", "{}", "{}"), "one netstring after the version, not 2"),
        (netstrings("6", '{"patch_body": "%"}'), "patch_body: it is no base64"),
    ],
)
def test_what_is_wrong_with_a_file(content: bytes, message: str) -> None:
    with pytest.raises(BadJob) as refused:
        job_of_file(content)
    assert message in str(refused.value)


def test_everything_wrong_with_a_mapping_is_told_by_field() -> None:
    with pytest.raises(BadJob) as refused:
        job_of(
            {
                "branch": 7,
                "who": "a\0b",
                "patch_level": True,
                "patch_body_base64": "!",
                "builderNames": "b1",
                "properties": {"x": float("nan")},
                "colour": "red",
            }
        )
    assert set(refused.value.problems) == {
        "branch",
        "who",
        "patch_level",
        "patch_body_base64",
        "builderNames",
        "properties",
        "colour",
    }
