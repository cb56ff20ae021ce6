# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the bucket of the uploads is listed to whoever asks: it is asked without a key.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from typing import Mapping
from urllib.parse import urlsplit

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import Device
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Listing, Seen, Unseen

_TIMEOUT, _LIMIT = 5, 15.0
"""Seconds for one step, and for all of them, with the look-up of the name."""
_READ = 65536
_AWAY = 307
"""what AWS answers to whoever asks for all buckets without a key: its page"""
_LISTED = b"<ListBucketResult"
_QUESTION = "?list-type=2&max-keys=1"
"""of S3's API (ListObjectsV2)"""


def listing(device: Device, elsewhere: Mapping[str, str]) -> Seen[Listing]:
    """What the bucket says to a stranger. elsewhere: where to connect to in the place of a host's name, if that is known to containers alone.

    Whether the bucket stands in the host or in the path is for the server to say, so that both are asked.
    """
    for url in _urls(device):
        answers: list[Seen[bool]] = []
        thread = threading.Thread(target=lambda: answers.append(_is_listed(url, elsewhere)), daemon=True)
        thread.start()
        thread.join(_LIMIT)
        answer = answers[0] if answers else Unseen("no complete answer within %g seconds" % _LIMIT)
        if isinstance(answer, Unseen):
            return Unseen("%s: %s" % (url, answer.reason))
        if answer:
            return Listing(url, True)
    return Listing(url, False)


def _urls(device: Device) -> list[str]:
    firsts = sorted({root.partition("/")[0] for root in device.roots}) if device.is_given else []
    return ["%s/%s%s" % (device.endpoint, first, _QUESTION) for first in ["", *firsts]]


def _is_listed(url: str, elsewhere: Mapping[str, str]) -> Seen[bool]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(elsewhere.get(parts.netloc, parts.netloc), timeout=_TIMEOUT)
    try:
        connection.request("GET", "%s?%s" % (parts.path or "/", parts.query), headers={"Host": parts.netloc})
        answer = connection.getresponse()
        if answer.status == 200:
            return _LISTED in answer.read(_READ)
        return (
            False if answer.status == _AWAY or 400 <= answer.status < 500 else Unseen("it answered %d" % answer.status)
        )
    except ssl.SSLCertVerificationError as error:
        return Unseen("this host does not trust its certificate (%s)" % error.verify_message)
    except (OSError, http.client.HTTPException) as error:
        return Unseen("it does not answer as a store does (%s)" % type(error).__name__)
    finally:
        connection.close()
