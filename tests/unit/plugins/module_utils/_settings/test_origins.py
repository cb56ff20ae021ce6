# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects that have their values from elsewhere than from the line of that name in .env; compose itself resolves them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.examine import AUDIT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance

KEY = "not-a-real-key-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OWN = f"_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n_APP_OPENSSL_KEY_V1={KEY}\n"
WISHES = {
    "https": {"certificate_email": "ops@notarealcompany.com"},
    "console_access": {"root_only": True},
    "encryption_key": {},
}
SWITCHES = ("_APP_OPTIONS_FORCE_HTTPS", "_APP_OPTIONS_ROUTER_FORCE_HTTPS", "_APP_CONSOLE_WHITELIST_ROOT")
REST = ("_APP_ENV", "_APP_DOMAIN", "_APP_EMAIL_CERTIFICATES")
BARE = ("_APP_OPENSSL_KEY_V1", *SWITCHES, *REST)


def service(entries, image="appwrite/appwrite:1.9.6", more=""):
    lines = "".join(f"      - {entry}\n" for entry in entries)
    return f"    image: {image}\n" + (f"    environment:\n{lines}" if lines else "") + more


def compose_file(*names_and_bodies):
    return "services:\n" + "".join(f"  {name}:\n{body}" for name, body in names_and_bodies)


@pytest.fixture
def write(project):
    def make(compose, env=OWN, **others):
        (project / "docker-compose.yml").write_text(compose)
        (project / ".env").write_text(env)
        for name, text in others.items():
            path = project / name.replace("__", "/").replace("_yml", ".yml").replace("_env", ".env")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return project

    return make


@pytest.fixture
def secure(run_module, without_engine):
    """Checks, runs, and runs again, which must change nothing."""

    def run(**more):
        foreseen = run_module("security", check=True, **{**WISHES, **more})
        done = run_module("security", **{**WISHES, **more})
        assert not done.get("failed"), done["msg"]
        assert foreseen["recreates"] == done["recreates"]
        assert [change["name"] for change in foreseen["changes"]] == [change["name"] for change in done["changes"]]
        again = run_module("security", **{**WISHES, **more})
        assert (again["changed"], again["changes"], again["recreates"]) == (False, [], [])
        assert KEY not in json.dumps([foreseen, done, again])
        return done

    return run


@pytest.fixture
def refused(run_module, without_engine, project):
    def run(**more):
        before = (project / ".env").read_bytes()
        result = run_module("security", **{**WISHES, **more})
        assert result["failed"] and (project / ".env").read_bytes() == before
        assert KEY not in json.dumps(result)
        return result["msg"]

    return run


@pytest.mark.parametrize("expression", ["$SHOP_KEY", "${SHOP_KEY}", "${SHOP_KEY:-none}", "${SHOP_KEY:?must be set}"])
def test_key_under_another_name(write, secure, expression):
    entries = (f"_APP_OPENSSL_KEY_V1={expression}", *BARE[1:])
    project = write(compose_file(("appwrite", service(entries))), OWN.replace("_APP_OPENSSL_KEY_V1", "SHOP_KEY"))
    assert secure()["key"]["state"] == "kept"
    assert "_APP_OPENSSL_KEY_V1" not in (project / ".env").read_text()


def test_setting_under_another_name(write, secure):
    entries = ("_APP_OPENSSL_KEY_V1", "_APP_OPTIONS_FORCE_HTTPS=${FORCE_HTTPS:-disabled}", *BARE[2:])
    project = write(compose_file(("appwrite", service(entries))))
    done = secure()
    assert "FORCE_HTTPS=enabled\n" in (project / ".env").read_text()
    assert any("_APP_OPTIONS_FORCE_HTTPS comes from FORCE_HTTPS" in warning for warning in done["warnings"])


@pytest.mark.parametrize("form", [".env", "[.env]", "[{path: .env}]", "[.env, other.env]"])
def test_env_file(write, secure, form):
    project = write(
        compose_file(
            ("appwrite", service((), more=f"    env_file: {form}\n")),
            ("worker", service((), more="    env_file: .env\n")),
        ),
        other_env="SOMETHING=else\n",
    )
    (project / "other.env").write_text("SOMETHING=else\n")
    done = secure()
    assert (done["key"]["state"], done["recreates"]) == ("kept", ["appwrite", "worker"])


def test_value_in_another_file(write, refused, project):
    write(compose_file(("appwrite", service((), more="    env_file: [.env, web.env]\n"))))
    (project / "web.env").write_text("# ours\n_APP_OPTIONS_FORCE_HTTPS=disabled\n")
    message = refused()
    assert "_APP_OPTIONS_FORCE_HTTPS of appwrite comes from %s, line 2" % (project / "web.env") in message


def test_key_in_the_compose_file(write, secure):
    project = write(
        compose_file(("appwrite", service((f"_APP_OPENSSL_KEY_V1={KEY}", *BARE[1:])))),
        "_APP_ENV=production\n_APP_DOMAIN=a.b.de\n",
    )
    done = secure()
    assert done["key"]["state"] == "kept" and "Remove" not in json.dumps(done)
    assert KEY not in (project / ".env").read_text()


def test_another_key_than_that_in_the_compose_file(write, refused):
    write(compose_file(("appwrite", service((f"_APP_OPENSSL_KEY_V1={KEY}", *BARE[1:])))), "_APP_ENV=production\n")
    message = refused(encryption_key={"key": "not-another-real-key-" * 3})
    assert "is already set" in message


def test_services_with_different_keys(write, refused):
    message = write(
        compose_file(
            ("appwrite", service(BARE)),
            ("worker", service(("_APP_OPENSSL_KEY_V1=not-the-real-key-of-this", "_APP_ENV"))),
        )
    )
    message = refused()
    assert "different keys" in message and "to worker" in message


def test_all_refusals_in_one_message(write, refused, project):
    write(
        compose_file(
            ("proxy", "    image: traefik:3.6\n"),
            ("appwrite", service(("_APP_OPENSSL_KEY_V1", "_APP_OPTIONS_FORCE_HTTPS=disabled", "_APP_ENV"))),
            (
                "worker",
                "    image: appwrite/appwrite:1.9.6\n    environment:\n      _APP_OPTIONS_FORCE_HTTPS: disabled\n",
            ),
        )
    )
    message = refused(env={"variables": {"_APP_LOCALE": "de", "_APP_OPTION_ABUSE": "enabled", "_APP_DOMIAN": "x"}})
    path = project / "docker-compose.yml"
    for part in (
        f"_APP_OPTIONS_FORCE_HTTPS of appwrite is written in the compose file itself, which beats .env ({path}, line 8)",
        f"_APP_OPTIONS_FORCE_HTTPS of worker is written in the compose file itself, which beats .env ({path}, line 13)",
        "Write `_APP_OPTIONS_FORCE_HTTPS: ${_APP_OPTIONS_FORCE_HTTPS}` there instead",
        f"_APP_CONSOLE_WHITELIST_ROOT would reach no service, since the compose file passes it to none. "
        f"Add `- _APP_CONSOLE_WHITELIST_ROOT` under `environment:` of appwrite ({path}, line 6)",
        "is _APP_OPTIONS_ABUSE meant?",
        "is _APP_DOMAIN meant?",
    ):
        assert part in message, part
    assert "appwrite-worker" not in message, "no service is named that this project has not"


@pytest.mark.parametrize(
    "variables", [{"TUNNEL_TOKEN": "x"}, {"SHOP_VERSION": "1.9.6"}, {"COMPOSE_PROJECT_NAME": "shop"}]
)
def test_own_names(write, secure, project, variables):
    write(
        compose_file(
            ("appwrite", service(BARE, "appwrite/appwrite:${SHOP_VERSION:-1.9.6}")),
            ("tunnel", service(("TUNNEL_TOKEN",), "cloudflare/cloudflared")),
        )
    )
    secure(env={"variables": variables})
    assert "%s=%s\n" % next(iter(variables.items())) in (project / ".env").read_text()


def test_own_names_of_a_template(write, secure, project):
    write(compose_file(("appwrite", service(BARE))))
    secure(env={"content": OWN + "TZ=Etc/UTC\n"})
    assert "TZ=Etc/UTC\n" in (project / ".env").read_text()


def test_a_name_that_nothing_knows(write, refused):
    write(compose_file(("appwrite", service(BARE))))
    assert "nothing in this project uses it" in refused(env={"variables": {"TUNNEL_TOKEN": "x"}})


def test_literal_in_an_included_file(write, refused, project):
    entries = ("_APP_OPENSSL_KEY_V1", "_APP_OPTIONS_FORCE_HTTPS=disabled", *BARE[2:])
    write("include: [stack/compose.yml]\n", stack__compose_yml=compose_file(("appwrite", service(entries))))
    assert f"{project / 'stack/compose.yml'}, line 6" in refused()


def test_origins_are_told(write, run_module, without_engine, project):
    entries = ("_APP_OPENSSL_KEY_V1=${SHOP_KEY}", "_APP_DOMAIN=aw.notarealcompany.com", "_APP_ENV", "_APP_LOCALE=$A-$B")
    write(
        compose_file(
            ("appwrite", service(entries)),
            ("worker", service(("_APP_ENV",), more="    env_file: [.env, worker.env]\n")),
            ("idle", service(("_APP_ENV",))),
            ("redis", service(("ANY=thing",), image="redis:7")),
        ),
        f"SHOP_KEY={KEY}\n_APP_ENV=production\n_APP_REDIS_HOST=redis\n",
    )
    (project / "worker.env").write_text(f"# ours\n_APP_OPENSSL_KEY_V1={KEY}\n")
    told = run_module("instance_info")
    assert KEY not in json.dumps(told)

    def entry(kind, services, name="", file="", line=0):
        place = str(project / file) if file else ""
        return {"kind": kind, "name": name, "file": place, "line": line, "services": services}

    others = told["origins"]["others"]
    assert sorted(others["_APP_OPENSSL_KEY_V1"], key=str) == sorted(
        [
            entry("other_name", ["appwrite"], "SHOP_KEY"),
            entry("env_file", ["worker"], "", "worker.env", 2),
            entry("not_passed", ["idle"]),
        ],
        key=str,
    )
    assert others["_APP_DOMAIN"] == [entry("literal", ["appwrite"], "", "docker-compose.yml", 6)]
    assert others["_APP_LOCALE"] == [entry("expression", ["appwrite"], "", "docker-compose.yml", 8)]
    assert "_APP_ENV" not in others and "ANY" not in others


def test_variables_that_no_service_takes_are_counted(write, run_module, without_engine):
    write(compose_file(("appwrite", service(BARE))), OWN + "_APP_REDIS_HOST=redis\n_APP_SMTP_HOST=\nTZ=UTC\n")
    told = run_module("instance_info")
    assert (told["origins"], told["drift"]) == ({"by_name": len(BARE), "unused": 2, "others": {}}, [])


# --- secrets that several services must have ---

NEWEST = "appwrite/appwrite:2.4.0"
PUBLIC = {
    "_APP_GEO_SECRET": "your-secret-key",
    "_APP_USAGE_PASS": "appwrite",
    "_APP_CONNECTIONS_DB_USAGE": "http://appwrite:appwrite@clickhouse:8123/appwrite",
    "_APP_CONNECTIONS_DB_EXECUTIONS": "http://appwrite:appwrite@clickhouse:8123/appwrite",
}
REPLACING = {"env": {"replace_default_secrets": True}}


def with_other_ends(*literals, geo="$_APP_GEO_SECRET", usage="${_APP_USAGE_PASS:-appwrite}"):
    entries = [entry for entry in PUBLIC if not any(literal.startswith(entry) for literal in literals)]
    return compose_file(
        ("appwrite", service((*BARE, *entries, *literals), NEWEST)),
        ("appwrite-geo", service((f"GEO_SECRET={geo}",), "appwrite/geo:0.3.2")),
        ("clickhouse", service((f"CLICKHOUSE_PASSWORD={usage}",), "clickhouse/clickhouse-server:26.4.3-alpine")),
    )


@pytest.fixture
def replaced(write, run_module, without_engine, project, monkeypatch):
    """What replacing the public defaults made of those that are in .env, and the warnings; nothing was ever started."""

    def run(compose):
        monkeypatch.setattr(Instance, "_has_storage", lambda _self, _service: False)
        write(compose, OWN + "".join(f"{name}={value}\n" for name, value in PUBLIC.items()))
        done = run_module("security", **{**WISHES, **REPLACING})
        assert not done.get("failed"), done["msg"]
        lines = dict(line.split("=", 1) for line in (project / ".env").read_text().splitlines() if "=" in line)
        assert not any(lines[name] in json.dumps(done) for name in PUBLIC if lines[name] != PUBLIC[name])
        return {name for name in PUBLIC if lines[name] != PUBLIC[name]}, lines, done

    return run


def test_both_ends_get_the_new_secret(replaced):
    changed, lines, done = replaced(with_other_ends())
    assert changed == set(PUBLIC) and done["recreates"] == ["appwrite", "appwrite-geo", "clickhouse"]
    for name in ("_APP_CONNECTIONS_DB_USAGE", "_APP_CONNECTIONS_DB_EXECUTIONS"):
        assert f":{lines['_APP_USAGE_PASS']}@" in lines[name]


def test_an_end_that_would_keep_the_old_secret(replaced, project):
    changed, _lines, done = replaced(with_other_ends(geo="your-secret-key"))
    assert changed == set(PUBLIC) - {"_APP_GEO_SECRET"}
    [warning] = [warning for warning in done["warnings"] if "GEO" in warning]
    assert warning.startswith("_APP_GEO_SECRET is left as it is: GEO_SECRET of appwrite-geo has to be the same")
    assert str(project / "docker-compose.yml") in warning and warning.endswith("Write `${_APP_GEO_SECRET}` there")


@pytest.mark.parametrize(
    "parts",
    [
        {"usage": "appwrite"},
        {"literals": ["_APP_CONNECTIONS_DB_USAGE=http://appwrite:appwrite@clickhouse:8123/appwrite"]},
        {"literals": ["_APP_USAGE_PASS=appwrite"]},
    ],
)
def test_one_of_three_that_would_keep_the_old_password(replaced, parts):
    changed, _lines, done = replaced(with_other_ends(*parts.pop("literals", ()), **parts))
    assert changed == {"_APP_GEO_SECRET"}
    left = [warning for warning in done["warnings"] if "is left as it is" in warning]
    assert len(left) == 3 and sum(warning.endswith("is left as it is, too") for warning in left) == 2


# --- masks ---


def test_word_as_a_secret(write, refused):
    """A harmless value under a name that nobody knows is what services are called, too."""
    write(
        compose_file(("appwrite", service(BARE)), ("appwrite-worker-usage", "    restart: always\n")),
        f"{OWN}HOME_NAME=appwrite\nHOME_NETWORK=appwrite-worker-network\n",
    )
    assert "appwrite-worker-usage" in refused()


def test_override_of_a_service_that_is_gone(write, refused, run_module, monkeypatch):
    project = write(compose_file(("appwrite", service(BARE))))
    (project / "docker-compose.override.yml").write_text(
        "# ours\nservices:\n  appwrite:\n    hostname: a\n  appwrite-worker-mails:\n    volumes: ['./x:/x']\n"
    )
    message = refused()
    assert (
        "the service appwrite-worker-mails (%s, line 5) has no image" % (project / "docker-compose.override.yml")
        in message
    )
    monkeypatch.setitem(AUDIT_OPTIONS["endpoint"], "default", {})  # ansible fills it in
    findings = {one["id"]: one for one in run_module("audit_info")["findings"]}
    assert findings["containers.files_accepted"]["status"] == "fail"
    assert "docker-compose.override.yml, line 5" in findings["containers.files_accepted"]["evidence"]


def test_compose_that_is_too_old(write, refused, monkeypatch):
    monkeypatch.setattr(Compose, "version", lambda _compose: (2, 25, 0))
    write(compose_file(("appwrite", service(BARE))))
    assert refused() == "docker compose 2.25.0 is too old; install 2.26 or newer"


def test_names_that_a_new_file_lacks(write, run_module, monkeypatch):
    monkeypatch.setattr(
        Instance, "holds_data", lambda _self: Evidence("no", "it was never started", never_started=True)
    )
    text = compose_file(("appwrite", service((*BARE, "A=${SHOP_A}", "B=$SHOP_B", "C=${SHOP_C:-c}", "D=$$SHOP_D"))))
    project = write(text + "    # hostname: ${SHOP_E}\n  mariadb:\n    image: mariadb:10.11\n")
    (project / ".env").unlink()
    wish = {"env": {"create": True, "variables": {"SHOP_A": "a"}}, "encryption_key": {}}
    for check in (True, False):
        result = run_module("security", check=check, **wish)
        assert "the compose files put in SHOP_B, which nothing sets" in json.dumps(result["warnings"]), result.get(
            "msg"
        )
    assert not any("nothing sets" in one for one in run_module("security", **wish)["warnings"])


@pytest.mark.parametrize(
    ("entry", "instead"),
    [
        ("['_APP_OPTIONS_FORCE_HTTPS=disabled']", "_APP_OPTIONS_FORCE_HTTPS"),
        (
            "{_APP_ENV: production, _APP_OPTIONS_FORCE_HTTPS: disabled}",
            "_APP_OPTIONS_FORCE_HTTPS: ${_APP_OPTIONS_FORCE_HTTPS}",
        ),
    ],
)
def test_literal_in_brackets(write, refused, entry, instead):
    project = write(compose_file(("appwrite", service(BARE))))
    (project / "docker-compose.yml").rename(project / "compose.yaml")
    (project / "compose.override.yaml").write_text(f"services:\n  appwrite:\n    environment: {entry}\n")
    message = refused()
    assert f"({project / 'compose.override.yaml'}, line 3). Write `{instead}` there instead" in message


FIELDS = "".join(f"  {name}: ${{{name}:-}}\n" for name in REST)
SWITCH_FIELDS = "".join(f"  {name}: ${{{name}:-}}\n" for name in SWITCHES)
WHOLE = compose_file(("appwrite", service(BARE)))
WAYS = {
    "anchor": {
        "docker-compose.yml": f"x-env: &env\n  _APP_OPENSSL_KEY_V1: ${{_APP_OPENSSL_KEY_V1}}\n{FIELDS}{SWITCH_FIELDS}"
        + compose_file(
            ("appwrite", service((), more="    environment:\n      <<: *env\n")),
            ("worker", service((), more="    environment: *env\n")),
        )
    },
    "extends": {
        "docker-compose.yml": compose_file(
            ("appwrite", service((), more="    extends: {file: common.yml, service: common}\n"))
        ),
        "common.yml": compose_file(("common", service(BARE))),
    },
    "include with a file of its own": {
        "docker-compose.yml": "include:\n  - path: aw/compose.yml\n    env_file: aw/own.env\n",
        "aw/compose.yml": WHOLE,
        "aw/own.env": OWN,
        ".env": "SHOP=1\n",
    },
    "COMPOSE_FILE": {
        "base.yml": WHOLE,
        "more.yml": "services:\n  appwrite:\n    hostname: a\n",
        ".env": f"COMPOSE_FILE=base.yml:more.yml\nCOMPOSE_PROFILES=x\n{OWN}",
    },
    "key in a second env_file": {
        "docker-compose.yml": compose_file(("appwrite", service((), more="    env_file: [.env, keys.env]\n"))),
        "keys.env": f"_APP_OPENSSL_KEY_V1={KEY}\n",
        ".env": "_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n",
    },
    "optional env_file": {
        "docker-compose.yml": compose_file(
            ("appwrite", service((), more="    env_file: [{path: .env}, {path: gone.env, required: false}]\n"))
        )
    },
    "default of a default": {
        "docker-compose.yml": compose_file(
            ("appwrite", service(("_APP_OPENSSL_KEY_V1=${SHOP_KEY:-${OTHER_KEY:-none}}", *BARE[1:])))
        ),
        ".env": OWN.replace("_APP_OPENSSL_KEY_V1", "OTHER_KEY"),
    },
    "literal with a dollar": {
        "docker-compose.yml": compose_file(("appwrite", service((f"_APP_OPENSSL_KEY_V1=$${KEY}", *BARE[1:])))),
        ".env": "_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n",
    },
    "carriage returns and a byte order mark": {
        "docker-compose.yml": WHOLE.replace("\n", "\r\n"),
        ".env": "\ufeff" + OWN.replace("\n", "\r\n"),
    },
    "compose.yaml and an override": {
        "compose.yaml": WHOLE,
        "compose.override.yaml": "services:\n  appwrite:\n    hostname: a\n",
    },
    "link": {"docker-compose.yml": WHOLE, "real.env": OWN, ".env": None},
}


@pytest.mark.parametrize("files", WAYS.values(), ids=WAYS)
def test_other_ways(project, secure, files):
    """The key in force is kept, and what is set reaches the services."""
    (project / "docker-compose.yml").unlink()
    for name, text in {".env": OWN, **files}.items():
        (project / name).parent.mkdir(exist_ok=True)
        if text is None:
            (project / name).unlink()
            (project / name).symlink_to("real.env")
        else:
            (project / name).write_bytes(text.encode())
    done = secure()
    assert done["key"]["state"] == "kept" and "appwrite" in done["recreates"]
    assert (project / ".env").is_symlink() == ("real.env" in files)
