"""What may be fetched, how git is called, and what its errors are called."""

from __future__ import annotations

import shlex

import pytest

from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.remote import (
    BadRemote,
    Credentials,
    check_credentials,
    environment,
    explain,
    flags,
    remote,
    scrubbed,
    secret_environment,
)

TOKEN = "ghp_tokenvalue+/1"


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("https://github.com/o/r.git", "https"),
        ("https://git.example.org:8443/o/r", "https"),
        ("ssh://git@example.org:22/o/r.git", "ssh"),
        ("git@github.com:o/r.git", "ssh"),
        ("file:///srv/repo.git", "file"),
        ("/srv/my repo".replace(" ", "_"), "file"),
        ("http://127.0.0.1:8080/r.git", "http"),
    ],
)
def test_safe_urls_are_accepted(url: str, scheme: str) -> None:
    """HTTPS, SSH in both spellings, and local paths; plain HTTP only to this machine."""
    assert remote(url, "main").scheme == scheme


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.org/r.git",
        "git://example.org/r.git",
        "ext::sh -c true",
        "ext::true",
        "fd::17",
        "--upload-pack=true",
        "-oProxyCommand=true@host:x",
        "git@-oProxyCommand=true:x",
        "ssh://-oProxyCommand=true/x",
        "https://user:s3cret@example.org/r.git",
        "https://s3cret@example.org/r.git",
        "https://example.org/r.git?x=s3cret",
        "https://example.org:port/r.git",
        "https://example.org",
        "file://host/share",
        "https://example.org/r\n.git",
        "relative/path",
    ],
)
def test_refused_urls_are_not_repeated(url: str) -> None:
    """Other transports, disguised options and embedded credentials; the message holds no secret."""
    with pytest.raises(BadRemote) as caught:
        remote(url, "main")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("branch", ["main", "release/1.x", "feature_ä", "v1.2-rc"])
def test_names_that_git_accepts_are_branches(branch: str) -> None:
    """Slashes and dots included."""
    assert remote("file:///r", branch).branch == branch


@pytest.mark.parametrize(
    "branch", ["", "-x", "a b", "a..b", "a:b", "+a", "a~1", "a@{1}", "x.lock", "a//b", "a\nb", "/a", "a/"]
)
def test_a_name_that_is_not_a_branch_is_refused(branch: str) -> None:
    """A refspec, a revision or an option."""
    if branch == "+a":
        # Git allows it, and the full ref name in the refspec keeps it from meaning anything else.
        assert remote("file:///r", branch).branch == branch
        return
    with pytest.raises(BadRemote):
        remote("file:///r", branch)


def test_a_token_is_on_no_command_line_and_only_for_its_host() -> None:
    """It is in the environment of the fetch, and the helper is bound to the remote's address."""
    where = remote("https://git.example.org:8443/o/r.git", "main")
    opened = Credentials(token=TOKEN)
    assert TOKEN not in " ".join(flags(where))
    assert TOKEN not in repr(opened) + repr(where)
    assert any(flag.startswith("credential.https://git.example.org:8443.helper=") for flag in flags(where))
    assert "credential.helper=" in flags(where)
    assert secret_environment(where, opened, "/home")["FF_GIT_TOKEN"] == TOKEN
    assert secret_environment(remote("file:///r", "main"), opened, "/home") == {}


def test_only_the_transport_of_the_url_is_allowed() -> None:
    """Git may use no other."""
    allowed = [f for f in flags(remote("git@example.org:o/r", "main")) if f.startswith("protocol.")]
    assert allowed == ["protocol.allow=never", "protocol.ssh.allow=always"]


def test_git_gets_an_environment_of_its_own() -> None:
    """It inherits only what it needs to reach the network."""
    made = environment("/home", {"PATH": "/bin", "GIT_TOKEN": TOKEN, "GIT_TRACE": "1", "https_proxy": "http://p"})
    assert made["PATH"] == "/bin"
    assert made["https_proxy"] == "http://p"
    assert made["GIT_TERMINAL_PROMPT"] == "0"
    assert "GIT_TOKEN" not in made
    assert "GIT_TRACE" not in made


def test_ssh_never_asks_and_trusts_no_new_host() -> None:
    """It uses only our key and our known hosts; an unknown host is an error."""
    where = remote("git@example.org:o/r", "main")
    command = shlex.split(secret_environment(where, Credentials(ssh_key="k"), "/a b")["GIT_SSH_COMMAND"])
    assert command[:5] == ["ssh", "-F", "/dev/null", "-i", "/a b/ssh_key"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/a b/known_hosts"} <= set(command)


def test_missing_credentials_are_named() -> None:
    """SSH needs a key and the host's key; a token with a line break is reported."""
    ssh = remote("git@example.org:o/r", "main")
    with pytest.raises(BadRemote, match="GIT_SSH_KEY"):
        check_credentials(ssh, Credentials())
    with pytest.raises(BadRemote, match="ssh-keyscan"):
        check_credentials(ssh, Credentials(ssh_key="k"))
    check_credentials(ssh, Credentials(ssh_key="k", ssh_known_hosts="h"))
    with pytest.raises(BadRemote, match="line break"):
        check_credentials(remote("https://e.org/r", "main"), Credentials(token="a\nb"))


@pytest.mark.parametrize(
    ("stderr", "word"),
    [
        ("fatal: couldn't find remote ref refs/heads/main", "GIT_BRANCH"),
        ("fatal: Authentication failed for 'https://e.org/r.git/'", "GIT_TOKEN"),
        ("remote: Repository not found.\nfatal: repository 'https://e.org/r.git/' not found", "GIT_REPO_URL"),
        ("fatal: unable to access 'https://e.org/': Could not resolve host: e.org", "reached"),
        ("Host key verification failed.\nfatal: Could not read from remote repository.", "KNOWN_HOSTS"),
        ("git@e.org: Permission denied (publickey).\nfatal: Could not read from remote", "GIT_SSH_KEY"),
        ("error: index-pack died of signal 25\nfatal: index-pack failed", "too large"),
    ],
)
def test_errors_of_the_remote_say_what_to_change(stderr: str, word: str) -> None:
    """Each usual one."""
    failure = explain(stderr, remote("https://e.org/r.git", "main"), Credentials())
    assert isinstance(failure, SourceFailed)
    assert word in str(failure)


def test_errors_of_the_mirror_are_not_blamed_on_the_remote() -> None:
    """They have other causes."""
    assert explain("fatal: bad object refs/fastflow/followed", remote("file:///r", "main"), Credentials()) is None


def test_the_output_of_git_is_cleaned() -> None:
    """Tokens, credentials in URLs and control characters never reach a message, and it stays short."""
    said = scrubbed(
        f"fatal: https://u:pw@e.org {TOKEN} ghp_tokenvalue%2B%2F1\n\x1b[31m" + "x" * 999, Credentials(token=TOKEN)
    )
    assert "ghp_" not in said
    assert "pw" not in said
    assert "\x1b" not in said
    assert len(said) <= 400
