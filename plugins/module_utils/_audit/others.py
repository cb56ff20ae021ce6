# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other programs found, told as findings of the audit.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Finding

_LONGEST = 500


@dataclass(frozen=True)
class Program:
    """An auditor that is none of ours."""

    group: str
    name: str
    subject: str
    """what it judges, in words"""
    commands: tuple[str, ...]
    """the names that it is installed under"""
    by_hand: str
    """the command line that runs it without us"""

    def ran(self, version: str) -> Finding:
        return self._itself("pass", "%s %s finished" % (self.name, version), "%s %s" % (self.name, version))

    def did_not_run(self, reason: str) -> Finding:
        return self._itself("unknown", reason, self.name)

    def finding(
        self,
        version: str,
        test: str,
        status: str,
        severity: str,
        title: str,
        evidence: Iterable[str],
        remedy: str,
        also: str = "",
    ) -> Finding:
        """C(evidence) of one test may be several texts, of which none is said twice; C(also) is a further reference."""
        return Finding(
            "%s.%s" % (self.group, plain(test)),
            plain(title),
            severity,
            self.group,
            status,
            plain("; ".join(dict.fromkeys(evidence))),
            "%s %s, which judges %s and knows nothing of Appwrite, found this."
            % (self.name, plain(version), self.subject),
            plain(remedy),
            plain("%s %s, %s" % (self.name, version, test) + (", " + also if also else "")),
        )

    def _itself(self, status: str, evidence: str, reference: str) -> Finding:
        return Finding(
            self.group + ".ran",
            "%s finishes, if it is installed" % self.name,
            "low",
            self.group,
            status,
            plain(evidence),
            "An auditor that did not finish found nothing, which does not mean that there is nothing to find.",
            "run it by hand and see what it says: %s" % self.by_hand,
            plain(reference),
        )


def plain(text: str) -> str:
    """On one line, without control characters, of bounded length."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
