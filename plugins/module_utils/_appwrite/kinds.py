# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of values that Appwrite's variables have, and what is wrong with one that does not fit.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_LOWER_CASE_EMAIL = r"[a-z0-9.!#$%&'+/=?^_`{|}~-]+@([a-z0-9-]+\.)+[a-z0-9-]{2,}"
# What a value of each kind looks like. Kinds that are not here: "text" and "secret" take anything, "choice:a b" takes
# one of the words, "dsn" and "password" what a DSN carries unencoded, "ip" an address, "network" one or a CIDR, and those of _LIST_KINDS
# and _LOOSE_LIST_KINDS.
_PATTERNS = {
    "country": (r"[A-Z]{2}", "an upper-case ISO 3166 country code such as DE"),
    "email": (rf"(?i:{_LOWER_CASE_EMAIL})", "an e-mail address"),
    "email pattern": (
        rf"(?i:{_LOWER_CASE_EMAIL}|\*@([a-z0-9-]+\.)+[a-z0-9-]{{2,}})",
        "an e-mail address or *@ and a domain",
    ),
    "loose country": (r"[A-Za-z]{2}", "an ISO 3166 country code such as DE"),
    "hostname": (rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", "a host name without scheme, port, path or spaces"),
    "integer": (r"[0-9]+", "a whole number, digits alone"),
    "lower-case email": (_LOWER_CASE_EMAIL, "an e-mail address in lower case, without wildcards"),
    "number": (r"[0-9]+(\.[0-9]+)?", "a number such as 2 or 0.5"),
    "port": (r"(?!0)[0-5]?\d{1,4}|6([0-4]\d{3}|5([0-4]\d\d|5([0-2]\d|3[0-5])))", "a port from 1 to 65535"),
    "switch": (r"enabled|disabled", "exactly enabled or disabled"),
    "time": (r"([01][0-9]|2[0-3]):[0-5][0-9]", "a time of day such as 03:30"),
    "url": (r"https?://[^\s/]\S*", "a URL that begins with http:// or https://"),
}
_LIST_KINDS = {
    "countries": "country",
    "emails": "lower-case email",
    "hostnames": "hostname",
    "ips": "ip",
    "networks": "network",
    "list": "text",
}
# Lists whose entries Appwrite trims.
_LOOSE_LIST_KINDS = {"email patterns": "email pattern", "loose countries": "loose country"}
SECRET_KINDS = ("password", "secret")
_DSN_BREAKERS = re.compile(r"[#+,/=?]|%[0-9A-Fa-f]{2}")


def misfit(kind: str, value: str) -> str | None:
    """What a value of this kind must be and is not, as the end of a sentence with the remedy; None when it fits."""
    if kind in _LOOSE_LIST_KINDS:
        return next(filter(None, (misfit(_LOOSE_LIST_KINDS[kind], entry.strip()) for entry in value.split(","))), None)
    if kind in _LIST_KINDS:
        entries = value.split(",")
        bare = [entry.strip() for entry in entries if entry.strip()]
        if entries != bare:
            return f"must have no spaces round its commas and no empty entries: write {','.join(bare) or 'nothing'}"
        return next(filter(None, (misfit(_LIST_KINDS[kind], entry) for entry in entries)), None)
    if kind == "network":
        return _network_misfit(value)
    if kind == "ip":
        return _ip_misfit(value)
    if kind in ("dsn", "password"):
        reason = "must not contain # + , / = ? or %XX, which break its DSN: use letters and digits alone"
        return reason if _DSN_BREAKERS.search(value) else None
    if kind.startswith("choice:"):
        words = kind.partition(":")[2].split()
        return None if value in words else f"must be one of {', '.join(words)}, not {value!r}"
    pattern, description = _PATTERNS.get(kind, (r"(?s:.*)", ""))
    return None if re.fullmatch(pattern, value, re.ASCII) else f"must be {description}, not {value!r}"


def _network_misfit(value: str) -> str | None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return f"must be made of IP addresses and networks, not {value!r}: such as 203.0.113.7 or 10.0.0.0/8"
    return None


def _ip_misfit(value: str) -> str | None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        remedy = "no CIDR, write out each address" if "/" in value else "such as 203.0.113.7 or 2001:db8::7"
        return f"must be made of IP addresses, not {value!r}: {remedy}"
    exact = str(getattr(address, "ipv4_mapped", None) or address)
    return None if value == exact else f"must have {value!r} in the form that Appwrite compares with: {exact}"
