"""Secrets providers (P9): values that nobody else can read, and that show up nowhere."""

from typing import Any

import pytest

from buildwright.model.errors import Collector, ConfigErrors, collected, collecting
from buildwright.model.fingerprint import describe
from buildwright.model.secrets import SecretInAFile


def put(directory: Any, name: Any, text: Any, mode: Any = 0o600) -> None:
    file = directory / name
    file.write_text(text)
    file.chmod(mode)


async def test_one_file_per_secret(tmp_path: Any) -> None:
    put(tmp_path, "key", "s3cr3t\n")
    put(tmp_path, "several", "a\nb\n\n")
    (tmp_path / "directory").mkdir()
    provider = SecretInAFile(str(tmp_path))
    assert await provider.get("key") == "s3cr3t"
    assert await provider.get("several") == "a\nb"
    assert await provider.get("directory") is None
    assert await provider.get("absent") is None
    assert await SecretInAFile(tmp_path, strip=False).get("key") == "s3cr3t\n"


async def test_a_relative_directory_is_the_masters(tmp_path: Any) -> None:
    (tmp_path / "secrets").mkdir()
    put(tmp_path / "secrets", "key", "s3cr3t")
    collector = Collector(basedir=tmp_path)
    token = collecting(collector)
    try:
        provider = SecretInAFile("secrets")
    finally:
        collected(token)
    assert not collector.errors
    assert await provider.get("key") == "s3cr3t"


async def test_suffixes(tmp_path: Any) -> None:
    put(tmp_path, "key.txt", "a")
    put(tmp_path, "key.secret", "b")
    put(tmp_path, "other", "c")
    provider = SecretInAFile(tmp_path, suffixes=[".secret", ".txt"])
    assert await provider.get("key") == "b"
    assert await provider.get("other") is None


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601])
def test_a_file_that_others_may_touch_is_refused(mode: Any, tmp_path: Any) -> None:
    put(tmp_path, "key", "s3cr3t", mode)
    with pytest.raises(ConfigErrors) as caught:
        SecretInAFile(tmp_path)
    assert f"(mode {mode:o})" in str(caught.value)
    assert f"chmod o-rwx {tmp_path / 'key'}" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_directory_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(ConfigErrors, match="No such file or directory"):
        SecretInAFile(tmp_path / "absent")


def test_what_is_not_text(tmp_path: Any) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigErrors, match="it is not text"):
        SecretInAFile(tmp_path)


def test_p9_no_description_of_a_provider_has_a_value(tmp_path: Any) -> None:
    put(tmp_path, "key", "s3cr3t")
    provider = SecretInAFile(tmp_path)
    assert "s3cr3t" not in repr(provider) + describe(provider)
