# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Appwrite stores uploads, by its own settings: the local volume, or a bucket of an object store.

As C(getDevice) has it (appwrite 1.6.2, 1.8.1 and 1.9.6, C(app/init/resources.php)), and C(src/Storage/Device) of utopia-php/storage 0.18.10, 0.18.14
and 2.0.5, which these use: the URL of an object is the endpoint, followed by the file's path. Whether a part of that is the name of the bucket is for the
server to say, so nothing here has to know it.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote_plus, urlsplit

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

DEVICE, CONNECTION, ENDPOINT = "_APP_STORAGE_DEVICE", "_APP_CONNECTIONS_STORAGE", "_APP_STORAGE_S3_ENDPOINT"
LOCAL = "local"
UPLOADS = "storage/uploads/"
"""C(APP_STORAGE_UPLOADS), without its leading slash"""
_SETTINGS = {
    "s3": "_APP_STORAGE_S3_",
    "awss3": "_APP_STORAGE_S3_",  # 2.0
    "dospaces": "_APP_STORAGE_DO_SPACES_",
    "backblaze": "_APP_STORAGE_BACKBLAZE_",
    "linode": "_APP_STORAGE_LINODE_",
    "wasabi": "_APP_STORAGE_WASABI_",
}
"""Device to the beginning of its variables."""
_HOSTS = {
    "s3": "%s.s3.%s.amazonaws.com",
    "awss3": "%s.s3.%s.amazonaws.com",
    "dospaces": "%s.%s.digitaloceanspaces.com",
    "backblaze": "%s.s3.%s.backblazeb2.com",
    "linode": "%s.%s.linodeobjects.com",
    "wasabi": "%s.s3.%s.wasabisys.com",
}
"""Device to its host, of bucket and region; that of s3 if it has no endpoint of its own."""
_CHINA = ("cn-north-1", "cn-north-4", "cn-northwest-1")
"""regions of s3 whose hosts end in C(.cn)"""
_ANY_REGION = "us-east-1"
"""that a request is signed for if none is set, since the signature must name one"""


class Named(NamedTuple):
    """The variables that say where the objects are and who asks, or the one that says it all."""

    access_key: str
    secret: str
    region: str
    bucket: str
    endpoint: str


@dataclass(frozen=True, repr=False)
class Device:
    """An object store as Appwrite asks it."""

    kind: str
    """as in C(_APP_STORAGE_DEVICE)"""
    endpoint: str
    """URL that the path of a file follows, without a slash at its end"""
    region: str
    access_key: str
    secret: str
    bucket: str
    """as it is set; the server may know it by the endpoint's host instead"""
    roots: tuple[str, ...]
    """what the path of a file begins with in its row, leading slashes apart"""
    named: Named
    is_given: bool
    """whether the endpoint is a setting of its own, so that the bucket may stand in the path"""

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    def place(self, path: str) -> tuple[str, str] | None:
        """The first part of a file's path, and the rest, in the URL of its object; nothing if that is not where files are."""
        parts = [part for part in path.split("/") if part]
        plain = "/".join(parts)
        try:
            plain.encode("utf-8")
        except UnicodeEncodeError:
            return None
        if not plain.startswith(self.roots) or not {".", ".."}.isdisjoint(parts) or "\0" in plain:
            return None
        first, _slash, rest = plain.partition("/")
        return first, rest


def device_of(values: Mapping[str, Any]) -> Device | None:
    """The object store that these variables of the service C(appwrite) name, C(None) for the local volume.

    Raises AppwriteError, which names the variable, if Appwrite itself could not reach it by them.
    """
    dsn = catalogue.given(values, CONNECTION)
    if dsn:
        kind, *parts = _by_dsn(dsn)
        named = Named(CONNECTION, CONNECTION, CONNECTION, CONNECTION, CONNECTION)
    else:
        kind = (catalogue.given(values, DEVICE) or LOCAL).lower()
        begin = _SETTINGS.get(kind, "")
        named = Named(begin + "ACCESS_KEY", begin + "SECRET", begin + "REGION", begin + "BUCKET", begin + "REGION")
        parts = [catalogue.given(values, name) for name in named[:4]]
    if kind == LOCAL:
        return None
    if kind not in _SETTINGS:
        raise AppwriteError(
            "%s: %r is none of the devices that this collection knows (%s), so the files cannot be found"
            % (CONNECTION if dsn else DEVICE, kind, ", ".join([LOCAL, *_SETTINGS]))
        )
    access_key, secret, region, bucket = parts
    given = catalogue.given(values, ENDPOINT) if "_S3_" in _SETTINGS[kind] else ""
    if given:
        named = Named(named.access_key, named.secret, named.region, named.bucket, ENDPOINT)
        endpoint = (given if given.startswith(("http://", "https://")) else "https://" + given).rstrip("/")
    else:
        host = _HOSTS[kind] % (bucket, region)
        is_chinese = "_S3_" in _SETTINGS[kind] and region in _CHINA
        endpoint = "https://" + (host[: -len("com")] + "cn" if is_chinese else host)
    for value, name, what in (
        (access_key, named.access_key, "the access key"),
        (secret, named.secret, "the secret"),
        *(() if given else ((region, named.region, "the region"), (bucket, named.bucket, "the bucket"))),
    ):
        if not value:
            raise AppwriteError("%s: lacks %s of the device %s; set it as Appwrite needs it" % (name, what, kind))
    if not _split(endpoint).hostname or "@" in endpoint:
        raise AppwriteError(
            "%s: is not a URL that could be asked; write it as https://host or http://host:port" % named.endpoint
        )
    roots = (UPLOADS, bucket + "/" + UPLOADS) if given and bucket else (UPLOADS,)
    return Device(kind, endpoint, region or _ANY_REGION, access_key, secret, bucket, roots, named, bool(given))


def _by_dsn(dsn: str) -> list[str]:
    """Device, access key, secret, region and bucket (utopia-php/dsn 0.2.1)."""
    parts = _split(dsn)
    if not parts.hostname or not parts.scheme:
        raise AppwriteError(
            "%s: is not a DSN that Appwrite can read, which then takes the local volume; write it as "
            "s3://ACCESS_KEY:SECRET@host/BUCKET?region=REGION, with what is special in a URL percent-encoded"
            % CONNECTION
        )
    return [
        parts.scheme,
        unquote_plus(parts.username or ""),
        unquote_plus(parts.password or ""),
        (parse_qs(parts.query).get("region") or [""])[0],
        parts.path.lstrip("/"),
    ]


def _split(url: str) -> SplitResult:
    """Nothing of it if it is no URL."""
    try:
        parts = urlsplit(url)
        if parts.port != 0:
            return parts
    except ValueError:  # of the port, too
        pass
    return urlsplit("")
