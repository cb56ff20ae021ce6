# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The encryption key is set when it is absent and never changed when it is there."""

from __future__ import annotations

import re
import secrets
import shlex

import pytest
import yaml
from ansible.parsing.splitter import parse_kv

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import ALPHANUMERIC
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import unseal
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import encryption_key as setting

NAME = _key.NAME
PUBLIC = "your-secret-key"
ABSENT = {
    "no line": "_APP_ENV=production\n",
    "commented": f"#{NAME}=not-a-real-key\n",
    "empty": f"{NAME}=\n",
    "bare": f"{NAME}\n",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What is tested here is which key is chosen; the slowness of the fingerprint has a test of its own."""
    monkeypatch.setattr(_key, "_ROUNDS", 1)


def plan(installation, **options):
    return setting.plan(
        installation,
        {
            "key": None,
            "length": 64,
            "placeholder": "replace_if_unused",
            "escrowed": None,
            "pending": None,
            "candidates": None,
            "seal": None,
            **options,
        },
    )


def refused(installation, **options):
    with pytest.raises(AppwriteError) as caught:
        plan(installation, **options)
    return str(caught.value)


# --- absent, and nobody has used the installation ---


@pytest.mark.parametrize("text", ABSENT.values(), ids=ABSENT)
def test_absent_is_generated(installation, text):
    planned = plan(installation(parse(text).values))
    assert list(planned.changes) == [NAME]
    assert re.fullmatch("[A-Za-z0-9]{64}", planned.changes[NAME])
    assert planned.key.state == "generated"
    assert planned.warnings == []


def test_public_placeholder_is_replaced(installation):
    planned = plan(installation({NAME: PUBLIC}))
    assert re.fullmatch("[A-Za-z0-9]{64}", planned.changes[NAME])
    assert planned.key.state == "placeholder_replaced"


def test_a_comment_behind_the_sign_is_a_value_and_not_absent(installation):
    planned = plan(installation(parse(f"{NAME}= # 4f8d of the vault\n").values))
    assert (planned.changes, planned.key.state) == ({}, "kept")


@pytest.mark.parametrize("placeholder", ["changeme", "change_this_to_a_long_random_secret", "put your key here"])
@pytest.mark.parametrize(
    ("data", "keys", "state"),
    [
        ("no", {}, "placeholder_replaced"),
        ("no", "the placeholder", "placeholder_replaced"),
        ("yes", {}, "placeholder_kept"),
        ("yes", "the placeholder", "placeholder_kept"),
    ],
)
def test_placeholder_of_a_template(installation, placeholder, data, keys, state):
    carried = {placeholder: ("appwrite",)} if keys else {}
    planned = plan(installation({NAME: placeholder}, data=data, keys=carried))
    assert (planned.key.state, bool(planned.changes)) == (state, state == "placeholder_replaced")
    assert planned.key.effective_bits == (0 if state == "placeholder_kept" else 95)
    told = [warning for warning in planned.warnings if "a placeholder, which can be guessed" in warning]
    assert bool(told) == ("selfhost.appwrite.rotate" in "".join(told)) == (state == "placeholder_kept")


SEAL = "not a real password of one task, which is long enough"


@pytest.mark.parametrize(
    ("data", "keys", "opens", "wrong"),
    [
        ("no", {}, {}, None),
        ("yes", {"a": ("appwrite",)}, {"a": 3}, None),
        ("yes", {}, {"a": 3}, None),
        ("yes", {}, {"b": 3}, "does not open what is stored"),
        ("yes", {"b": ("appwrite",)}, {"b": 3}, "does not open what is stored"),
        ("yes", {"b": ("appwrite",)}, {"a": 3}, None),
        ("yes", {"b": ("appwrite",)}, {}, "disagree, and nothing was changed or saved"),
        ("yes", {"a": ("appwrite",)}, {}, None),
        ("unknown", {"a": ("appwrite",)}, {}, None),
        ("unknown", {"b": ("appwrite",)}, {}, "only after it has opened some of what is stored"),
        ("unknown", {}, {}, "only after it has opened some of what is stored"),
    ],
)
def test_key_that_is_saved_for_the_first_time(installation, key, data, keys, opens, wrong):
    """Somebody may have put another key into .env than the one that containers with data run on."""
    facts = {
        "data": data,
        "keys": {key(letter): services for letter, services in keys.items()},
        "opens": {key(letter): count for letter, count in opens.items()},
    }
    assert plan(installation({NAME: key()}, **facts)).key.state == "kept", "nothing is saved"
    assert plan(installation({NAME: key()}, **facts), seal=SEAL, escrowed=key()).key.state == "kept", (
        "it was saved before"
    )
    if wrong:
        message = refused(installation({NAME: key()}, **facts), seal=SEAL)
        assert wrong in message and key() not in message and key("b") not in message
    else:
        assert plan(installation({NAME: key()}, **facts), seal=SEAL).key.state == "kept"


def test_key_that_is_saved_without_a_database_to_try_it_on(installation, key):
    planned = plan(installation({NAME: key()}, data="unknown", elsewhere=True), seal=SEAL)
    assert "without having been tried" in planned.warnings[0]


def test_key_that_is_saved_and_cannot_be_tried(installation, key):
    unreadable = AppwriteError("the database says no")
    planned = plan(installation({NAME: key()}, data="yes", keys={key(): ("appwrite",)}, opens=unreadable), seal=SEAL)
    assert "it was not tried" in planned.warnings[0]
    message = refused(
        installation({NAME: key()}, data="yes", keys={key("b"): ("appwrite",)}, opens=unreadable), seal=SEAL
    )
    assert "the database says no" in message


def test_placeholder_where_a_database_elsewhere_cannot_be_asked(installation, key):
    """It stays, and so holds up nothing else that is set with it. What would take its place is refused as ever."""
    there = {"data": "unknown", "elsewhere": True}
    planned = plan(installation({NAME: PUBLIC}, **there))
    assert (planned.changes, planned.key.state) == ({}, "placeholder_kept")
    assert "can forge an administrator" in planned.warnings[0] and "Start the database" in planned.warnings[0]
    assert "Nothing was changed" in refused(installation({NAME: PUBLIC}, **there), key=key())
    assert "provably holds no data" in refused(installation({NAME: PUBLIC}, data="unknown"))


def test_services_that_get_different_keys(installation, key):
    given = {key(): ("appwrite",), key("b"): ("appwrite-worker-mails", "realtime"), "": ("proxy",)}
    message = refused(installation({NAME: key()}, given_keys=given))
    assert "different keys" in message and "to appwrite-worker-mails, realtime" in message
    assert key() not in message and key("b") not in message


@pytest.mark.parametrize("length", [32, 33, 256])
def test_length_of_a_generated_key(installation, length):
    assert re.fullmatch("[A-Za-z0-9]{%d}" % length, plan(installation(), length=length).changes[NAME])


@pytest.mark.parametrize("length", [31, 257, 0, -1])
@pytest.mark.parametrize("values", [{}, {NAME: "present" * 8}])
def test_length_out_of_bounds_is_refused(installation, length, values):
    assert refused(installation(values), length=length).startswith(
        f"length: must be from 32 to 256 characters, got {length}"
    )


def test_generated_keys_differ_and_use_the_whole_alphabet(installation):
    made = [plan(installation(), length=256).changes[NAME] for _unused in range(20)]
    assert len(set(made)) == 20
    assert len(set("".join(made))) == 62


def test_generated_by_the_systems_generator(installation, monkeypatch):
    drawn = []
    monkeypatch.setattr(secrets, "choice", lambda alphabet: drawn.append(alphabet) or alphabet[-1])
    assert plan(installation()).changes[NAME] == "9" * 64
    assert set(drawn) == {ALPHANUMERIC}


# --- present ---


@pytest.mark.parametrize("options", [{}, {"placeholder": "keep"}, {"length": 256}])
@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
def test_present_is_untouched_and_nothing_is_asked(installation, key, options, data):
    asked = []
    planned = plan(installation({NAME: key()}, data=data, keys={key("b"): ("appwrite",)}, asked=asked), **options)
    assert (planned.changes, planned.key.state, planned.warnings, asked) == ({}, "kept", [], [])


def test_the_same_key_passed_is_no_change(installation, key):
    planned = plan(installation({NAME: key()}), key=key())
    assert (planned.changes, planned.key.state) == ({}, "kept")


@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
def test_another_key_for_a_present_one_is_refused(installation, key, data):
    message = refused(installation({NAME: key()}, data=data), key=key("b"))
    assert message.startswith("key: ")
    assert _key.fingerprint(key()) in message and _key.fingerprint(key("b")) in message
    assert key() not in message and key("b") not in message


@pytest.mark.parametrize("weak", ["short", "1111222233334444", "0" * 64])
def test_a_weak_key_is_kept_with_a_warning(installation, weak):
    planned = plan(installation({NAME: weak}))
    assert planned.changes == {}
    assert "weak" in planned.warnings[0] and weak not in planned.warnings[0]


def test_the_official_hex_key_is_not_called_weak(installation):
    planned = plan(installation({NAME: "0123456789abcdef" * 4}))
    assert (planned.key.effective_bits, planned.warnings) == (64, [])


def test_zero_is_what_appwrite_reads_as_unset(installation):
    """Appwrite reads an environment variable of 0 as unset, so that an installation with it runs with no key."""
    assert plan(installation({NAME: "0"})).key.state == "generated"


# --- supplied ---


@pytest.mark.parametrize("text", ABSENT.values(), ids=ABSENT)
@pytest.mark.parametrize("data", ["yes", "no"])
def test_supplied_for_an_absent_one_is_used_as_it_is(installation, key, text, data):
    planned = plan(installation(parse(text).values, data=data), key=key())
    assert (planned.changes, planned.key.state) == ({NAME: key()}, "supplied")


@pytest.mark.parametrize(
    "given", ["sixteen-bytes-ok", " not a real key with spaces ", "not-a-real-$key-\\-\"-'", "ключ-не-настоящий"]
)
def test_supplied_keys_that_are_allowed(installation, given):
    planned = plan(installation(), key=given)
    assert planned.changes == {NAME: given} and not planned.warnings


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "is empty"),
        (PUBLIC, "placeholder"),
        ("x" * 15, "shorter than 16 bytes"),
        ("é" * 7, "shorter than 16 bytes"),
        ("not-a-real-key\0with-a-nul", "NUL"),
        ("not-a-real-key-\udcff-of-bytes", "Unicode"),
    ],
    ids=["empty", "placeholder", "15 bytes", "14 bytes", "NUL", "not UTF-8"],
)
@pytest.mark.parametrize("values", [{}, {NAME: PUBLIC}], ids=["absent", "placeholder there"])
def test_supplied_keys_that_are_refused(installation, given, why, values):
    message = refused(installation(values), key=given)
    assert message.startswith("key: ") and why in message
    assert not given or given == PUBLIC or given not in message


def test_supplied_replaces_a_placeholder_that_nobody_used(installation, key):
    planned = plan(installation({NAME: PUBLIC}), key=key())
    assert (planned.changes, planned.key.state) == ({NAME: key()}, "placeholder_replaced")


def test_supplied_where_containers_ran_without_one_is_warned_of(installation, key):
    planned = plan(installation(data="yes", keys={"": ("appwrite",)}), key=key())
    assert planned.changes == {NAME: key()}
    assert planned.warnings == [setting.UNKEYED]


# --- the public placeholder ---


def test_placeholder_keep(installation):
    asked = []
    planned = plan(installation({NAME: PUBLIC}, asked=asked), placeholder="keep")
    assert (planned.changes, planned.key.state, planned.key.effective_bits, asked) == ({}, "placeholder_kept", 0, [])
    assert "forge an administrator" in planned.warnings[0]


def test_placeholder_keep_does_not_keep_an_absent_key_absent(installation):
    assert plan(installation(), placeholder="keep").key.state == "generated"


def test_placeholder_keep_with_a_key_is_refused(installation, key):
    assert refused(installation({NAME: PUBLIC}), placeholder="keep", key=key()).startswith(
        "key: `placeholder`, which is keep,"
    )


def test_placeholder_in_use_is_kept_and_warned_of(installation):
    planned = plan(installation({NAME: PUBLIC}, data="yes", keys={PUBLIC: ("appwrite",)}))
    assert (planned.changes, planned.key.state) == ({}, "placeholder_kept")
    assert "anyone who can reach the API can forge an administrator" in planned.warnings[0]
    assert "the evidence is yes" in planned.warnings[0]


def test_placeholder_in_use_and_a_key_is_refused(installation, key):
    message = refused(installation({NAME: PUBLIC}, data="yes"), key=key())
    assert message.startswith("key: ") and "the evidence is yes" in message and key() not in message


def test_placeholder_and_nobody_knows_is_refused(installation):
    message = refused(installation({NAME: PUBLIC}, data="unknown"))
    assert (
        "the evidence is unknown" in message
        and "Start the database alone" in message
        and "with `placeholder` set to keep" in message
    )


# --- absent, and there is data ---


@pytest.mark.parametrize(("data", "remedy"), [("yes", ".env.*.backup"), ("unknown", "Start the database alone")])
@pytest.mark.parametrize("text", ABSENT.values(), ids=ABSENT)
def test_absent_with_data_is_refused(installation, data, remedy, text):
    message = refused(installation(parse(text).values, data=data))
    assert NAME in message and f"the evidence is {data}" in message and remedy in message


@pytest.mark.parametrize("data", ["yes", "no"])
@pytest.mark.parametrize("values", [{}, {NAME: ""}, {NAME: PUBLIC}])
def test_recovered_from_containers(installation, key, data, values):
    planned = plan(installation(values, data=data, keys={key(): ("appwrite", "realtime")}))
    assert (planned.changes, planned.key.state) == ({NAME: key()}, "recovered")
    assert "recovered from the containers of this project (appwrite, realtime)" in planned.warnings[0]
    assert key() not in "".join(planned.warnings)


@pytest.mark.parametrize(("data", "state"), [("yes", "recovered"), ("no", "generated")])
def test_a_public_default_is_recovered_only_where_data_may_hang_on_it(installation, data, state):
    planned = plan(installation(data=data, keys={PUBLIC: ("appwrite",)}))
    assert planned.key.state == state
    assert (setting._forgery(PUBLIC) in planned.warnings) == (state == "recovered")


def test_the_key_that_containers_have_may_be_passed(installation, key):
    planned = plan(installation(data="yes", keys={key(): ("appwrite",)}), key=key())
    assert (planned.changes, planned.key.state) == ({NAME: key()}, "recovered")


@pytest.mark.parametrize("data", ["yes", "unknown"])
def test_another_key_than_containers_have_is_refused(installation, key, data):
    message = refused(installation(data=data, keys={key(): ("appwrite",)}), key=key("b"))
    assert message.startswith("key: ") and (
        "appwrite" in message if data == "yes" else "the evidence is unknown" in message
    )
    assert key() not in message and key("b") not in message


def test_containers_of_an_unused_installation_bind_nobody(installation, key):
    planned = plan(installation(keys={key(): ("appwrite",)}), key=key("b"))
    assert (planned.changes, planned.key.state) == ({NAME: key("b")}, "supplied")


def test_containers_that_disagree_are_refused(installation, key):
    message = refused(installation(data="yes", keys={key(): ("appwrite",), key("b"): ("realtime",)}))
    assert all(
        part in message
        for part in (_key.fingerprint(key()), _key.fingerprint(key("b")), "appwrite", "realtime", "`key`")
    )
    assert key() not in message and key("b") not in message


def test_containers_that_disagree_and_the_remedy_of_that_message(installation, key):
    """The refusal tells to pass the key that opened the data; that must then work."""
    keys = {key(): ("appwrite",), key("b"): ("realtime",)}
    assert plan(installation(data="yes", keys=keys), key=key()).changes == {NAME: key()}


def test_containers_without_a_key_beside_one_with_it(installation, key):
    assert plan(installation(data="yes", keys={"": ("realtime",), key(): ("appwrite",)})).changes == {NAME: key()}


# --- from the escrow ---

ESCROWED = "not-a-real-escrowed-key-0123456789"


@pytest.mark.parametrize("values", [{}, {NAME: ""}, {NAME: "0"}, {NAME: PUBLIC}])
@pytest.mark.parametrize("data", ["yes", "no"])
@pytest.mark.parametrize("keys", [{}, {ESCROWED: ("appwrite",)}, {"": ("appwrite",)}])
def test_escrowed_key_is_put_back(installation, values, data, keys):
    planned = plan(installation(values, data=data, keys=keys), escrowed=ESCROWED)
    assert planned.changes == {NAME: ESCROWED} and planned.key.state == "restored"


def test_escrowed_key_that_is_there(installation):
    planned = plan(installation({NAME: ESCROWED}), escrowed=ESCROWED)
    assert (planned.changes, planned.key.state) == ({}, "kept")


def test_escrow_and_file_disagree(installation):
    said = refused(installation({NAME: "not-a-real-key-of-the-file"}), escrowed=ESCROWED)
    assert _key.fingerprint(ESCROWED) in said and _key.fingerprint("not-a-real-key-of-the-file") in said
    assert "remove the line from .env and run again" in said and "pass it as `key`" in said


@pytest.mark.parametrize("values", [{}, {NAME: PUBLIC}])
def test_escrow_and_containers_disagree(installation, values):
    """Where nothing sealed is stored, it is not for a program to say which of them is right."""
    said = refused(
        installation(values, data="yes", keys={"not-a-real-key-of-containers": ("appwrite",)}), escrowed=ESCROWED
    )
    assert "the containers of this project (appwrite)" in said and "never with -v" in said


def test_installation_that_runs_on_the_placeholder(installation):
    """Data may be sealed with the public default by now. Who takes the line out has decided."""
    running = {PUBLIC: ("appwrite",)}
    said = refused(installation({NAME: PUBLIC}, data="yes", keys=running), escrowed=ESCROWED)
    assert "the public default" in said
    assert plan(installation({}, data="yes", keys=running), escrowed=ESCROWED).key.state == "restored"
    assert plan(installation({NAME: PUBLIC}, data="no", keys=running), escrowed=ESCROWED).key.state == "restored"


def test_another_key_than_the_escrowed_is_refused(installation):
    assert refused(installation(), escrowed=ESCROWED, key="not-a-real-key-of-the-user").startswith(
        "key: is not the one in the escrow"
    )


# --- a key meets data only after it has opened some of it ---

ONE, TWO, OLDER = ("%s-is-not-a-real-key-0123456789" % name for name in ("one", "two", "older"))
PUT = {
    "restored": ({}, {"escrowed": ONE}, {}),
    "restored over the placeholder": ({NAME: PUBLIC}, {"escrowed": ONE}, {}),
    "supplied": ({}, {"key": ONE}, {}),
    "saved just now": ({}, {"key": ONE, "escrowed": ONE}, {}),
    "supplied over the placeholder": ({NAME: PUBLIC}, {"key": ONE}, {}),
    "recovered": ({}, {}, {ONE: ("appwrite",)}),
    "recovered over the placeholder": ({NAME: PUBLIC}, {}, {ONE: ("appwrite",)}),
    "passed and in containers": ({}, {"key": ONE}, {ONE: ("appwrite",)}),
    "passed and in some containers": ({}, {"key": ONE}, {ONE: ("appwrite",), OLDER: ("realtime",)}),
}
put = pytest.mark.parametrize(("values", "options", "keys"), PUT.values(), ids=PUT)


@put
def test_key_that_opens(installation, values, options, keys):
    planned = plan(installation(values, data="yes", keys=keys, opens={ONE: 7}), candidates=[TWO], **options)
    assert planned.changes == {NAME: ONE}


@put
def test_key_that_opens_nothing(installation, values, options, keys):
    """The message names the one that does."""
    said = refused(installation(values, data="yes", keys=keys, opens={TWO: 7}), candidates=[OLDER, TWO], **options)
    assert "does not open what is stored, and nothing was changed. Of 7 values looked at, " in said
    assert f"an older key of the escrow (fingerprint {_key.fingerprint(TWO)}) opens 7: " in said
    assert ONE not in said and TWO not in said and OLDER not in said


@put
def test_key_where_no_key_opens(installation, values, options, keys):
    said = refused(installation(values, data="yes", keys=keys, opens={"not-a-real-key-of-nobody": 7}), **options)
    assert (
        "Of 7 values looked at, none opens with any key that is known here" in said
        and "Look for the right one in backups of .env" in said
    )
    assert ("move the escrow file away" in said) == ("escrowed" in options)


@put
def test_key_that_opens_a_part(installation, values, options, keys):
    """What another one opens would be closed."""
    said = refused(
        installation(values, data="yes", keys=keys, opens={ONE: 5, TWO: 2}, directory="/opt/appwrite"),
        candidates=[TWO],
        **options,
    )
    assert "does not open all of what is stored" in said and "opens 5 and an older key of the escrow" in said
    assert "run ansible-playbook selfhost.appwrite.rotate -e appwrite_rotation_project_src=/opt/appwrite" in said


@put
def test_key_where_nothing_can_be_asked(installation, values, options, keys):
    asked = []
    said = refused(installation(values, data="unknown", keys=keys, asked=asked), **options)
    assert (
        "is put in force only after it has opened some of what is stored, and the evidence is unknown. Nothing was changed. Start the database"
        in said
    )
    assert "opens" not in asked


@put
def test_key_where_nothing_can_be_opened(installation, values, options, keys):
    said = refused(
        installation(values, data="yes", keys=keys, opens=AppwriteError("install python3-cryptography")), **options
    )
    assert (
        "is put in force only after it has opened some of what is stored. Nothing was changed: install python3-cryptography"
        in said
    )


@put
def test_key_where_nobody_has_signed_up(installation, values, options, keys):
    asked = []
    assert plan(installation(values, keys=keys, opens={TWO: 7}, asked=asked), **options).changes == {NAME: ONE}
    assert "opens" not in asked


@pytest.mark.parametrize("options", [{"escrowed": ONE}, {"key": ONE}])
def test_key_that_opens_what_the_containers_do_not(installation, options):
    planned = plan(installation({}, data="yes", keys={TWO: ("appwrite",)}, opens={ONE: 7}), **options)
    assert planned.changes == {NAME: ONE}
    assert not planned.warnings or "run with another key" in planned.warnings[0]


def test_keys_that_open_the_same(installation):
    """AES takes the first 16 bytes: such a key is no other one."""
    tail = ONE[:16] + "-and-another-tail"
    planned = plan(installation({}, data="yes", keys={tail: ("appwrite",)}, opens={ONE: 7, tail: 7}), escrowed=ONE)
    assert planned.changes == {NAME: ONE} and not planned.warnings


WAYS = {
    "containers": (
        {"keys": {TWO: ("appwrite",)}},
        {"escrowed": ONE},
        "the key of the containers (appwrite)",
        "move the escrow file away, then run again: it is",
    ),
    "containers, passed": (
        {"keys": {TWO: ("appwrite",)}},
        {"key": ONE},
        "the key of the containers (appwrite)",
        "leave `key` out, then run again: it is",
    ),
    "some containers": (
        {"keys": {TWO: ("a",), OLDER: ("b",)}},
        {"key": ONE},
        "the key of the containers (a)",
        "leave `key` out, then pass it as `key`",
    ),
    "pending": (
        {},
        {"escrowed": ONE, "pending": TWO},
        "the pending key of the escrow",
        "a rotation of the key is unfinished, run ansible-playbook",
    ),
    "older": (
        {},
        {"escrowed": ONE, "candidates": [TWO]},
        "an older key of the escrow",
        "write its line into .env by hand (ansible-vault view shows it)",
    ),
}


@pytest.mark.parametrize(("known", "options", "name", "way"), WAYS.values(), ids=WAYS)
def test_the_way_to_the_key_that_opens(installation, known, options, name, way):
    said = refused(installation({}, data="yes", opens={TWO: 7}, **known), **options)
    assert f"{name} (fingerprint {_key.fingerprint(TWO)}) opens 7: {way}" in said


@pytest.mark.parametrize("values", [{}, {NAME: PUBLIC}])
def test_the_way_to_the_public_default(installation, values):
    said = refused(installation(values, data="yes", opens={PUBLIC: 7}), escrowed=ONE)
    assert (
        "the public default opens 7: move the escrow file away, then put it into .env by hand if it is not there, and run again"
        in said
    )


def test_what_was_stored_without_a_key(installation):
    """It proves nothing against a key that opens the rest."""
    keys = {"": ("appwrite",)}
    planned = plan(installation(data="yes", keys=keys, opens={"": 2, ONE: 5}), key=ONE)
    assert planned.changes == {NAME: ONE} and planned.warnings == [setting.UNKEYED]
    said = refused(installation(data="yes", keys=keys, opens={"": 2}), key=ONE)
    assert "no key at all opens 2: it was stored while there was none" in said


OPENS = {
    "the escrow's": (
        {ONE: 7},
        "the escrowed key (fingerprint {one}) opens 7: remove the line from .env and run again: it is put back",
    ),
    "the file's": ({TWO: 7}, "the key in .env (fingerprint {two}) opens 7: pass it as `key`"),
    "an older one": (
        {OLDER: 7},
        "an older key of the escrow (fingerprint {older}) opens 7: write its line into .env by hand",
    ),
    "both": (
        {ONE: 3, TWO: 4},
        "the escrowed key (fingerprint {one}) opens 3 and the key in .env (fingerprint {two}) opens 4. If a rotation of the key is",
    ),
    "none": (
        {"not-a-real-key-of-nobody": 7},
        "then remove the line from .env, then move the escrow file away, then pass it as `key`",
    ),
    "nothing sealed": ({}, "Nothing is stored yet that tells which is right. If the escrow is right, remove the line"),
    "cannot be opened": (AppwriteError("install it"), "Which of them opens what is stored cannot be tried: install it"),
}


@pytest.mark.parametrize(("opens", "words"), OPENS.values(), ids=OPENS)
def test_escrow_and_file_disagree_about_data(installation, opens, words):
    said = refused(installation({NAME: TWO}, data="yes", opens=opens), escrowed=ONE, candidates=[OLDER])
    assert "disagree, and nothing was changed" in said
    assert (
        words.format(**{name: _key.fingerprint(each) for name, each in (("one", ONE), ("two", TWO), ("older", OLDER))})
        in said
    )
    assert "remove the line from .env and run again: it is put back" not in said or opens == {ONE: 7}


def test_escrow_and_file_disagree_and_nobody_knows(installation):
    said = refused(installation({NAME: TWO}, data="unknown"), escrowed=ONE)
    assert (
        "cannot be tried: the evidence is unknown. Start the database alone" in said and "remove the line" not in said
    )


def test_escrow_and_file_differ_in_what_signs_alone(installation):
    said = refused(installation({NAME: ONE[:16] + "-and-another-tail"}, data="yes", opens={ONE: 7}), escrowed=ONE)
    assert "Both open the same data, because AES uses only their first 16 bytes" in said


@pytest.mark.parametrize(
    ("opens", "words"),
    [
        (
            {ONE: 7},
            "the key that was passed (fingerprint {one}) opens 7: remove the line from .env and run again: it is set",
        ),
        ({TWO: 7}, "the key in .env (fingerprint {two}) opens 7: leave `key` out, and it stays"),
        ({}, "Pass the key that is there or none"),
    ],
)
def test_passed_and_present_disagree_about_data(installation, opens, words):
    said = refused(installation({NAME: TWO}, data="yes", opens=opens), key=ONE)
    assert said.startswith("key: ") and words.format(one=_key.fingerprint(ONE), two=_key.fingerprint(TWO)) in said


def test_containers_that_disagree_about_data(installation):
    said = refused(installation({}, data="yes", keys={ONE: ("appwrite",), TWO: ("realtime",)}, opens={TWO: 7}))
    assert (
        f"the key of the containers (realtime) (fingerprint {_key.fingerprint(TWO)}) opens 7: pass it as `key`" in said
    )


@pytest.mark.parametrize("options", [{"escrowed": ONE}, {"key": TWO}])
def test_a_rotation_that_is_ending(installation, options):
    """The file has the new key already, the escrow has it as pending: the old one must not come back."""
    asked = []
    said = refused(
        installation({NAME: TWO}, data="yes", asked=asked, directory="/opt/appwrite"), pending=TWO, **options
    )
    assert (
        "a rotation of the key is ending" in said
        and "run ansible-playbook selfhost.appwrite.rotate -e appwrite_rotation_project_src=/opt/appwrite" in said
    )
    assert not asked


def test_kept_asks_nothing(installation):
    asked = []
    planned = plan(installation({NAME: ONE}, data="yes", asked=asked, opens={TWO: 7}), escrowed=ONE, candidates=[OLDER])
    assert planned.key.state == "kept" and not asked


KEPT = {
    "own": ({NAME: ONE}, {"escrowed": ONE}, "kept"),
    "public": ({NAME: PUBLIC}, {}, "placeholder_kept"),
    "public, as was wished": ({NAME: PUBLIC}, {"placeholder": "keep"}, "placeholder_kept"),
}
kept = pytest.mark.parametrize(("values", "options", "state"), KEPT.values(), ids=KEPT)


@kept
@pytest.mark.parametrize("opens", [{TWO: 7}, {ONE: 6, PUBLIC: 6, TWO: 1}])
def test_a_rotation_that_the_project_has_forgotten(installation, values, options, state, opens):
    """Its directory was put back from a backup of before: the escrow has the new key as pending, and data is under that already."""
    said = refused(installation(values, data="yes", opens=opens, directory="/opt/appwrite"), pending=TWO, **options)
    assert (
        f"the pending key of the escrow (fingerprint {_key.fingerprint(TWO)}) opens {opens[TWO]}, and the key in .env"
        in said
    )
    assert "run ansible-playbook selfhost.appwrite.rotate -e appwrite_rotation_project_src=/opt/appwrite" in said


@kept
def test_a_rotation_that_may_have_been_forgotten(installation, values, options, state):
    said = refused(installation(values, data="unknown"), pending=TWO, **options)
    assert (
        "a rotation may be unfinished" in said
        and "the evidence is unknown. Nothing was changed. Start the database alone" in said
    )
    said = refused(installation(values, data="yes", opens=AppwriteError("install it")), pending=TWO, **options)
    assert "cannot be tried: install it. Nothing was changed" in said


@kept
@pytest.mark.parametrize("opens", [{ONE: 7}, {}])
def test_a_rotation_that_has_sealed_nothing_yet(installation, values, options, state, opens):
    assert plan(installation(values, data="yes", opens=opens), pending=TWO, **options).key.state == state


def test_a_rotation_that_cannot_have_begun(installation):
    asked = []
    assert (
        plan(installation({NAME: ONE}, asked=asked, data="no"), escrowed=ONE, pending=TWO).key.state == "kept"
        and "opens" not in asked
    )


@pytest.mark.parametrize("data", ["unknown", "yes"])
def test_a_rotation_of_a_database_elsewhere(installation, data):
    """It may have begun there, too, and nobody is told to start Appwrite so that it can be asked."""
    there = {"data": data, "elsewhere": True}
    said = refused(installation({NAME: ONE}, opens=AppwriteError("load it"), **there), escrowed=ONE, pending=TWO)
    assert "a rotation may be unfinished" in said and said.endswith("be tried: load it. Nothing was changed")
    said = refused(installation({NAME: ONE}, opens={TWO: 7}, **there), escrowed=ONE, pending=TWO)
    assert "a rotation of the key is unfinished" in said
    assert plan(installation({NAME: ONE}, opens={ONE: 7}, **there), escrowed=ONE, pending=TWO).key.state == "kept"


def test_another_pending_tail_opens_the_same_data(installation):
    asked = []
    assert (
        plan(
            installation({NAME: ONE}, data="yes", asked=asked), escrowed=ONE, pending=ONE[:16] + "-and-another-tail"
        ).key.state
        == "kept"
    )
    assert not asked


@pytest.mark.parametrize("directory", ["/opt/appwrite", "/opt/my appwrite", '/opt/it\'s "mine"'])
def test_the_command_is_typed_as_it_stands(installation, directory):
    said = refused(installation({NAME: ONE}, data="yes", opens={TWO: 7}, directory=directory), pending=TWO)
    words = shlex.split(said.partition("run ")[2])
    assert words[:3] == ["ansible-playbook", "selfhost.appwrite.rotate", "-e"] and len(words) == 4
    variables = yaml.safe_load(words[3]) if words[3].startswith("{") else parse_kv(words[3])
    assert variables == {"appwrite_rotation_project_src": directory}


# --- a key that would not do as a new one ---

SHORT = "not-a-key-1"
RETURNING = {
    "restored": ({"escrowed": SHORT}, {"data": "yes"}),
    "supplied": ({"key": SHORT}, {"data": "yes"}),
    "saved just now": ({"key": SHORT, "escrowed": SHORT}, {"data": "yes"}),
    "recovered and saved just now, without data": ({"key": SHORT, "escrowed": SHORT}, {"keys": {SHORT: ("appwrite",)}}),
}


@pytest.mark.parametrize(("options", "found"), RETURNING.values(), ids=RETURNING)
def test_a_short_key_comes_back(installation, options, found):
    """It is in use: that it would not do as a new one is no reason to lose the data."""
    assert plan(installation(opens={SHORT: 7}, **found), **options).changes == {NAME: SHORT}


@pytest.mark.parametrize("option", ["escrowed", "key"])
def test_a_short_key_is_no_new_one(installation, option):
    assert refused(installation(), **{option: SHORT}).startswith(f"{option}: is shorter than 16 bytes")
    assert "does not open what is stored" in refused(installation(data="yes", opens={ONE: 7}), **{option: SHORT})


def test_an_escrow_of_the_public_default(installation):
    """Earlier versions made such."""
    planned = plan(installation(data="yes", keys={PUBLIC: ("appwrite",)}, opens={PUBLIC: 7}), escrowed=PUBLIC)
    assert planned.changes == {NAME: PUBLIC} and setting._forgery(PUBLIC) in planned.warnings


# --- sealed ---


@pytest.mark.parametrize("options", [{}, {"key": "not-a-real-key-of-the-user"}, {"escrowed": ESCROWED}])
def test_sealed_for_the_one_who_asks(installation, options):
    planned = plan(installation(), seal="p" * 32, **options)
    assert unseal(planned.key.public()["sealed"], "p" * 32) == planned.changes[NAME]
    assert "sealed" not in plan(installation()).key.public()


@pytest.mark.parametrize("options", [{"key": "2749105836274910"}, {"escrowed": "2749105836274910"}])
def test_a_weak_key_that_is_set_is_warned_of(installation, options):
    planned = plan(installation(), **options)
    assert (
        "weak" in planned.warnings[0]
        and "about 53 bits" in planned.warnings[0]
        and "it is kept" not in planned.warnings[0]
    )


def test_password_that_could_be_guessed(installation):
    assert refused(installation(), seal="p" * 31).startswith("seal: must be at least 32 characters")


@pytest.mark.parametrize("given", [["not-a-real-key-in-a-list"], {"key": "not-a-real-key"}, 12345678901234567890, True])
def test_key_that_is_no_text(installation, given):
    assert refused(installation(), key=given) == "key: is not text; put it in quotes"
