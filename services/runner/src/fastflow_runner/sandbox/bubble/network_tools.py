"""The programs that give a sandbox its network: where they are, and how they are called. I/O."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from ipaddress import IPv4Network

import msgspec

from fastflow_runner.sandbox.bubble.network_rules import ADDRESS, GATEWAY, NAME_SERVER, SUBNET

_MORE = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where system programs are, and ordinary users do not look."""
_TUN = "/dev/net/tun"


class Helper(msgspec.Struct, frozen=True):
    """The program that carries a sandbox's packets to this machine's network."""

    path: str
    tells: bool
    """Whether it is ``slirp4netns``, which says that it is ready; ``pasta`` goes into the background then."""

    def command(self, *, names: bool) -> tuple[str, ...]:
        """Return how it is called; ``NETWORK`` stands for the path of the sandbox's network namespace.

        Args:
            names: whether it answers for the name server.
        """
        if self.tells:
            return (
                *(self.path, "--configure", "--mtu=65520", f"--cidr={SUBNET}", "--disable-host-loopback"),
                *("--enable-sandbox", "--enable-seccomp", *(() if names else ("--disable-dns",))),
                *("--netns-type=path", "NETWORK", "eth0"),
            )
        width = str(IPv4Network(SUBNET).prefixlen)
        return (
            *(self.path, "--quiet", "--ipv4-only", "--config-net", "--ns-ifname", "eth0", "--no-map-gw"),
            *("--address", ADDRESS, "--netmask", width, "--gateway", GATEWAY, "--no-dhcp"),
            *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
            *(("--dns-forward", NAME_SERVER) if names else ()),
            *("--netns-only", "--no-netns-quit", "--netns", "NETWORK"),
        )


class Lack(msgspec.Struct, frozen=True):
    """What a machine lacks, in a clause each for the problem and the solution."""

    found: str
    hint: str

    def __str__(self) -> str:
        return f"{self.found}; {self.hint}."


class NetworkTools(msgspec.Struct, frozen=True):
    """What this machine has."""

    helper: Helper | None
    lack: Lack | None
    """Why sandboxes cannot have a network of their own; None: they can."""
    others: tuple[Helper, ...] = ()
    """Helpers that can take its place, if it does not work."""


def program_path() -> str:
    """Return where programs are looked for."""
    return f"{os.environ.get('PATH', os.defpath)}:{_MORE}"


def find_tools(which: Callable[..., str | None] = shutil.which, *, tun: str = _TUN) -> NetworkTools:
    """Look for ``slirp4netns``, which takes half the time to start, else ``pasta``; and for ``nft``."""
    path = program_path()
    found = ((which(name, path=path), tells) for name, tells in (("slirp4netns", True), ("pasta", False)))
    helpers = tuple(Helper(program, tells) for program, tells in found if program)
    helper = helpers[0] if helpers else None
    return NetworkTools(helper, _lack(helper, has_nft=which("nft", path=path) is not None, tun=tun), helpers[1:])


def _lack(helper: Helper | None, *, has_nft: bool, tun: str) -> Lack | None:
    if helper is None:
        return Lack("neither slirp4netns nor pasta is here, which connect sandboxes", "install slirp4netns or passt")
    if not has_nft:
        return Lack("nft is not here, which closes the networks of sandboxes", "install nftables")
    if not os.path.exists(tun):
        return Lack(
            f"this machine has no {tun}, which the networks of sandboxes need",
            "as root, run modprobe tun, and add it to /etc/modules-load.d for the next start of the machine (in a "
            f"container: start it with --device {tun})",
        )
    if os.geteuid() and not os.access(tun, os.R_OK | os.W_OK):
        return Lack(
            f"this user cannot open {tun}, which the networks of sandboxes need",
            f"as root, run chmod 666 {tun}, and add the udev rule "
            'KERNEL=="tun", MODE="0666" for the next start of the machine',
        )
    return None
