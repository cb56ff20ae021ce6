# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of what Appwrite itself allows, limits, scans and keeps.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import Iterable, Union

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    POSTGRESQL,
    PRIVATE,
    PUBLIC,
    Control,
    Observation,
    Outcome,
    Server,
    Unobserved,
    Unseen,
    failed,
    judge,
    known_services,
    not_applicable,
    passed,
    places,
    seen,
    seen_all,
    services,
    settings,
    some,
)

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_PROVIDERS = ("sentry", "raygun")
"""Names that Appwrite's two lists spell alike since it takes the provider from the DSN; appSignal and logOwl end up in neither branch."""
_OLD_PROVIDERS = ("sentry", "raygun", "appSignal", "logOwl")
_DSN_SINCE = (1, 6)
_SCANNER = "clamav"
PROXIES, INTERNAL = "_APP_TRUSTED_PROXIES", "_APP_ALLOWED_INTERNAL_ADDRESSES"
_TRUSTED_BY_ITSELF = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""If the variable is not set at all. In one of them is the address from which Traefik speaks to Appwrite."""
_TRAEFIK_TRUSTS = re.compile(r"(?i)\.forwardedheaders\.trustedips=(\S+)")
_DEVELOPMENT = {
    "_APP_CONSOLE_TRUSTED_PROJECTS": ("trusted-project", "another-trusted-project"),
    "_APP_DNS": ("172.16.238.100",),
    "_APP_DOMAIN_TARGET_A": ("203.0.0.1",),
    "_APP_DOMAIN_TARGET_CAA": ("digicert.com",),
    "_APP_EMAIL_SECURITY": ("security@appwrite.io",),
    "_APP_OPTIONS_ABUSE_INCREASED_LIMIT_PROJECTS": ("increased-limit-project",),
    "_APP_PWNED_PASSWORDS_DSN": ("mock://localhost",),
    "_APP_SMS_PROVIDER": ("sms://username:password@mock",),
    "_APP_SMTP_HOST": ("maildev",),
    "_APP_VCS_GITEA_BROWSER_ENDPOINT": ("http://localhost:9515",),
    "_APP_VCS_GITEA_ENDPOINT": ("http://gitea:3000",),
}
"""What only the developers of Appwrite have, in their own C(.env), which is also what the documentation's compose generator hands out
(appwrite/appwrite 33310e0f8036). What other controls find in it is not here."""


def _given(observation: Observation, name: str) -> set[str]:
    """Its values, wherever it is received."""
    return {value for _place, value in places(observation, name)} - set(catalogue.UNSET)


def _environment_production(observation: Observation) -> Outcome:
    return judge(observation, "_APP_ENV", lambda value: value == "production")


def _abuse_limited(observation: Observation) -> Outcome:
    return judge(observation, "_APP_OPTIONS_ABUSE", lambda value: value == "enabled")


def _router_protected(observation: Observation) -> Outcome:
    name, release = "_APP_OPTIONS_ROUTER_PROTECTION", observation.release
    if not catalogue.is_read(name, release):
        return not_applicable("Appwrite %s has no router protection" % release)
    if not catalogue.is_older(release, (1, 9)) and catalogue.is_older(release, (1, 9, 5)):
        seen_all(observation)
        return passed("Appwrite %s turns unknown host names away whatever %s says" % (release, name))
    on_by_itself = not catalogue.is_older(release, (1, 9, 5)) and catalogue.is_older(release, (1, 9, 7))
    return judge(observation, name, lambda value: value == "enabled" or on_by_itself and value in catalogue.UNSET)


def _schema_closed(observation: Observation) -> Outcome:
    name = "_APP_GRAPHQL_INTROSPECTION"
    if not catalogue.is_read(name, observation.release):
        return not_applicable(
            "Appwrite %s has no %s: it shows the schema only if abuse protection is disabled"
            % (observation.release, name)
        )
    return judge(observation, name, lambda value: value == "disabled")


def _mail_encrypted(observation: Observation) -> Outcome:
    if not _given(observation, "_APP_SMTP_HOST"):
        seen_all(observation)
        return not_applicable("no mail server is set")
    return judge(observation, "_APP_SMTP_SECURE", lambda value: value in ("tls", "ssl"))


def _scanner_there(observation: Observation) -> Outcome:
    if "enabled" not in _given(observation, "_APP_STORAGE_ANTIVIRUS"):
        seen_all(observation)
        return not_applicable("uploads are not to be scanned")
    inside = observation.inside
    answers = None if isinstance(inside, Unseen) else inside.reachable.get("antivirus")
    hosts = _given(observation, "_APP_STORAGE_ANTIVIRUS_HOST") or {_SCANNER}
    if answers is not None:
        return (passed if answers else failed)(
            "the scanner %s %s" % (", ".join(sorted(hosts)), "answers" if answers else "does not answer")
        )
    names = {
        name
        for service, options in services(observation).items()
        for name in (service, options.get("container_name"), options.get("hostname"))
    }
    missing = sorted(host for host in hosts - names if "." not in host)
    if missing:
        return failed("uploads are to be scanned by %s, which is not a service of the project" % ", ".join(missing))
    if hosts - names:
        seen(inside)
        raise Unobserved(
            "the container appwrite was made without scanning, so it was not asked whether the scanner answers"
        )
    seen_all(observation)
    return passed("uploads are to be scanned by %s, a service of the project" % ", ".join(sorted(hosts)))


def _bucket_closed(observation: Observation) -> Outcome:
    bucket = seen(observation.bucket)
    if bucket is None:
        seen_all(observation)
        return not_applicable("uploads are on the local volume")
    return (failed if bucket.is_open else passed)(
        "%s lists objects to whoever asks, without a key" % bucket.url
        if bucket.is_open
        else "the bucket of the uploads is not listed without a key"
    )


def _servers(observation: Observation) -> tuple[Server, ...]:
    """Those that are no services of the project; nothing if there are none, and nothing is unseen."""
    found = seen(observation.servers)
    if not found:
        seen_all(observation)
    return found


def _whereabouts(servers: Iterable[Server]) -> str:
    """Raises Unobserved for the first that is not known."""
    return "; ".join("%s (%s) is at %s" % (each.kind, each.place, each.found) for each in servers if seen(each.reach))


def _database_closed(observation: Observation) -> Outcome:
    servers = _servers(observation)
    if not servers:
        return not_applicable(_WITHIN)
    public = [each for each in servers if each.reach == PUBLIC]
    opened = [each for each in servers if each.opened]
    if public or opened:
        said = [
            "%s (%s) is at %s, and %s"
            % (
                each.kind,
                each.place,
                each.found,
                "answers this host there; whether it answers others cannot be seen from here"
                if each.answers
                else "does not answer this host there",
            )
            for each in public
        ]
        said += ["%s (%s): %s" % (each.kind, each.place, ", ".join(each.opened)) for each in opened]
        return failed("; ".join(said), None if public else _BIND)
    return passed(_whereabouts(servers))


def _encrypted(observation: Observation, reach: str, otherwise: str) -> Outcome:
    """Of what goes so far."""
    servers = _servers(observation)
    if not servers:
        return not_applicable(_WITHIN)
    far = [each for each in servers if each.reach == reach]
    said = [(_is_encrypted(each), each) for each in far]
    plain = [each for encrypted, each in said if encrypted is False]
    release = observation.release
    if plain and catalogue.is_newer(release) and not all(each.kind == POSTGRESQL for each in plain):
        raise Unobserved("Appwrite %s is one that this collection does not know, and may ask for TLS" % release)
    if plain:
        return failed(
            "; ".join("%s (%s) is at %s: %s" % (each.kind, each.place, each.found, _why(each)) for each in plain)
        )
    where = _whereabouts(servers)
    unknown = [each for encrypted, each in said if encrypted is None]
    if unknown:
        raise Unobserved(
            "%s does not say to this host whether it speaks TLS"
            % some(["%s (%s)" % (each.kind, each.place) for each in unknown])
        )
    if not far:
        return not_applicable("%s: %s" % (otherwise, where))
    return passed("; ".join("%s, encrypted%s" % (_whereabouts([each]), _trust(each)) for each in far))


def _is_encrypted(server: Server) -> bool | None:
    """C(None) if that depends on an answer that was not had."""
    if server.kind != POSTGRESQL or server.mode in ("disable", "allow"):
        return False
    return server.mode != "prefer" or server.tls


def _why(server: Server) -> str:
    if server.kind == POSTGRESQL and server.mode == "prefer":
        return "it has no TLS"
    said = "by PGSSLMODE Appwrite asks for none first" if server.kind == POSTGRESQL else "Appwrite speaks no TLS to it"
    return said + (", although it has TLS" if server.tls else "")


def _trust(server: Server) -> str:
    if server.mode == "verify-full":
        return ""
    shown = "any certificate of the authority" if server.mode == "verify-ca" else "whichever certificate it shows"
    return ", by %s (only PGSSLMODE verify-full sees that it is the server's own)" % shown


def _errors_logged(observation: Observation) -> Outcome:
    if catalogue.is_older(observation.release, _DSN_SINCE):
        outcome = judge(observation, "_APP_LOGGING_PROVIDER", lambda value: value in _OLD_PROVIDERS)
        return (
            outcome
            if outcome.status == "fail"
            else judge(
                observation,
                "_APP_LOGGING_CONFIG",
                lambda value: value not in catalogue.UNSET,
                lambda value: "set" if value else "",
            )
        )
    return judge(
        observation,
        "_APP_LOGGING_CONFIG",
        lambda value: _provider(value) in _PROVIDERS,
        lambda value: (
            "a DSN of %s" % _provider(value)
            if _provider(value) in _OLD_PROVIDERS
            else "no DSN of a known provider"
            if value
            else ""
        ),
    )


def _provider(dsn: str) -> str:
    scheme, _separator, rest = dsn.partition("://")
    return scheme if rest.strip("/") else ""


def _kept(observation: Observation, name: str, seconds: int) -> Outcome:
    """C(seconds) are Appwrite's own default."""
    if not catalogue.is_read(name, observation.release):
        return not_applicable("Appwrite %s has no %s" % (observation.release, name))
    return judge(observation, name, lambda value: value in catalogue.UNSET or value.isdigit() and int(value) >= seconds)


def _proxies_trusted(observation: Observation) -> Outcome:
    if not catalogue.is_read(PROXIES, observation.release):
        return not_applicable("Appwrite %s believes the forwarded address of whoever sends it" % observation.release)
    outer = [
        entry
        for options in known_services(observation).values()
        for word in options.get("command") or ()
        for found in _TRAEFIK_TRUSTS.findall(str(word))
        for entry in found.split(",")
    ]
    bad: dict[str, list[str]] = {}
    given: list[tuple[str, str | None]] = [*settings(observation, PROXIES)] or [("", None)]
    for place, value in given:
        for problem in _mistrusted(value, outer):
            bad.setdefault(problem, []).append(place)
    if bad:
        return failed(
            "; ".join(
                "%s %s%s" % (PROXIES, problem, " (%s)" % some(where) if all(where) else "")
                for problem, where in sorted(bad.items())
            )
        )
    seen_all(observation)
    return passed("the client's address is taken from proxies of this installation alone")


def _mistrusted(value: str | None, outer: list[str]) -> list[str]:
    """What is wrong with a value of C(_APP_TRUSTED_PROXIES), C(None) for unset. C(outer) are the addresses that Traefik trusts."""
    trusted = _TRUSTED_BY_ITSELF if value is None else _networks(value)
    if not trusted:
        return ["names nobody, so that every client has the address of Traefik"]
    if any(not network.prefixlen for network in trusted):
        return ["holds every address, so that each client can choose its own"]
    if not any(network.overlaps(own) for network in trusted for own in _TRUSTED_BY_ITSELF):
        return ["holds no private network, in which Traefik is, so that every client has the address of Traefik"]
    missing = sorted({str(one) for one in _networks(",".join(outer)) if not any(_holds(own, one) for own in trusted)})
    if missing:
        return [
            "%sdoes not hold %s, which Traefik trusts" % ("is not set and " if value is None else "", some(missing))
        ]
    return []


def _networks(entries: str) -> list[_Network]:
    """Those of a list that are addresses or networks."""
    found = []
    for entry in entries.split(","):
        try:
            found.append(ipaddress.ip_network(entry.strip(), strict=False))
        except ValueError:
            continue
    return found


def _holds(network: _Network, other: _Network) -> bool:
    return network.overlaps(other) and network.prefixlen <= other.prefixlen


def _internal_closed(observation: Observation) -> Outcome:
    if not catalogue.is_read(INTERNAL, observation.release):
        return not_applicable(
            "Appwrite %s has no %s (containers.release_not_vulnerable says what that means)"
            % (observation.release, INTERNAL)
        )
    found = {entry for _place, value in settings(observation, INTERNAL) for entry in _networks(value)}
    bad = [str(entry) for entry in found if entry.num_addresses > 1 or entry.is_loopback or entry.is_link_local]
    if bad:
        return failed("%s opens %s" % (INTERNAL, some(bad)))
    seen_all(observation)
    if found:
        return passed("%s opens single addresses alone: %s" % (INTERNAL, some([str(one) for one in found])))
    return passed("no internal address is open to what users name")


def _nothing_of_developers(observation: Observation) -> Outcome:
    found = sorted(
        name
        for name, theirs in _DEVELOPMENT.items()
        if any(entry.strip() in theirs for _place, value in settings(observation, name) for entry in value.split(","))
    )
    if found:
        return failed(
            "as in the .env of Appwrite's developers: %s" % ", ".join(found),
            "appwrite_security_variables: {%s}" % ", ".join("%s: null" % name for name in found),
        )
    if isinstance(observation.config, Unseen):
        seen(observation.env)
    seen_all(observation)
    return passed("no value is one that only Appwrite's developers have")


_WITHIN = "the database and Redis are services of the project"
_BIND = (
    "let it listen on the address of Docker's bridge alone (bind-address of MariaDB, listen_addresses of PostgreSQL, net.bindIp of MongoDB, bind of Redis), "
    "or publish it as 127.0.0.1:<port>:<port>; for a container then: docker compose up -d (in its project). If a firewall keeps all others out, waive this"
)
_PLAIN = (
    "Appwrite 1.4.14 to 1.9.6 and 0cefd0615350, app/init/registers.php; utopia-php/mongo 1.1.0, src/Client.php; PostgreSQL, libpq, sslmode; "
    "appwrite/appwrite#4643, #6869"
)
_TUNNEL = (
    "lead it through a VPN, or through a TLS tunnel that is a service of the project (stunnel, say, whose name goes into the host's variable), then: "
    "docker compose up -d. PostgreSQL needs neither: switch ssl on there, and give each service of Appwrite PGSSLMODE: verify-full and PGSSLROOTCERT"
)

CONTROLS: tuple[Control, ...] = (
    Control(
        "platform.environment_production",
        "Appwrite runs in production mode",
        "high",
        "Development mode shows stack traces, opens mock sign-in routes, lets a header choose the host and drops the guard that keeps webhooks "
        "off internal addresses. Unset is read as either.",
        "appwrite_security_variables: {_APP_ENV: production}",
        "Appwrite 1.9.6, app/init/registers.php, app/controllers/mock.php and src/Appwrite/Platform/Workers/Webhooks.php",
        _environment_production,
    ),
    Control(
        "platform.abuse_limited",
        "Abuse protection is on",
        "high",
        "Without rate limits passwords, codes and invitations can be guessed as fast as the network carries. The API and realtime read any word "
        "but enabled and disabled differently.",
        "appwrite_security_variables: {_APP_OPTIONS_ABUSE: enabled}",
        "Appwrite 1.9.6, app/controllers/shared/api.php and app/realtime.php",
        _abuse_limited,
    ),
    Control(
        "platform.router_protected",
        "Unknown host names are turned away",
        "medium",
        "Otherwise whoever points a name at this host gets the API and the console under it, which is what phishing needs. Up to 1.8.1 unset "
        "means off, in 1.9.5 and 1.9.6 it means on.",
        "appwrite_security_variables: {_APP_OPTIONS_ROUTER_PROTECTION: enabled}",
        "Appwrite 1.8.1 and 1.9.6, app/controllers/general.php; appwrite/appwrite#12798",
        _router_protected,
    ),
    Control(
        "platform.proxies_trusted",
        "Forwarded addresses of clients are believed of the own proxies alone",
        "medium",
        "From 2.4.0 the client's address, by which abuse is limited and _APP_CONSOLE_WHITELIST_IPS decides, comes from X-Forwarded-For only if "
        "that comes from one of these addresses. Not set, they are loopback and the private networks; a balancer with a public address must be "
        "added to those. Empty is nobody, unlike with any other variable.",
        "appwrite_security_variables: {%s: '127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16'} (and behind them the public addresses that "
        "--entrypoints.appwrite_web.forwardedHeaders.trustedIPs of Traefik names)" % PROXIES,
        "Appwrite after 2.4.0, src/Appwrite/Network/TrustedProxies.php and its test; updates guide of 2.4.0",
        _proxies_trusted,
    ),
    Control(
        "platform.internal_addresses_closed",
        "What users name is not fetched from inside",
        "medium",
        "From 2.4.0 webhooks, OAuth2 endpoints, migrations and messages never go to private addresses, except to these. A network, the loopback or "
        "the link-local address, where clouds hand out credentials, opens Redis, the database and the orchestrator to whoever may set a webhook.",
        "appwrite_security_variables: {%s: null}, or only the single addresses that are needed" % INTERNAL,
        "Appwrite, updates guide and changelog of 2.4.0; appwrite/appwrite#11845",
        _internal_closed,
    ),
    Control(
        "platform.nothing_of_developers",
        "No value is left of Appwrite's own development",
        "medium",
        "The compose generator of Appwrite's documentation hands out the developers' .env, and tells people to change two lines of it. Projects with "
        "the ids of its tests are trusted or less limited, and whoever makes a project chooses its id; names are asked of an address that nobody "
        "has; mail and messages go to stand-ins; reports go to Appwrite.",
        "appwrite_security_variables: {_APP_CONSOLE_TRUSTED_PROJECTS: null}",
        "appwrite/appwrite 33310e0f8036, apps/console/src/lib/docs/compose-generator/composeData.ts; 1.9.6, app/controllers/general.php",
        _nothing_of_developers,
    ),
    Control(
        "platform.schema_closed",
        "The GraphQL schema is not shown to everybody",
        "low",
        "Introspection hands a map of the whole API to whoever asks. Only the exact word disabled closes it.",
        "appwrite_security_variables: {_APP_GRAPHQL_INTROSPECTION: disabled}",
        "Appwrite 1.9.0, app/controllers/api/graphql.php",
        _schema_closed,
    ),
    Control(
        "platform.mail_encrypted",
        "Mail goes to the mail server encrypted",
        "high",
        "Mail carries links that sign people in and reset passwords, and the mail server's own password goes before it. Anything but tls or ssl "
        "means plain text; Appwrite does not try encryption by itself.",
        "appwrite_security_variables: {_APP_SMTP_SECURE: tls}",
        "Appwrite 1.9.6, app/init/registers.php",
        _mail_encrypted,
    ),
    Control(
        "platform.scanner_there",
        "If uploads are to be scanned, there is a scanner",
        "medium",
        "An upload fails if scanning is on and no scanner answers. Up to 1.8.1 the official file has the service clamav commented out, since "
        "1.9.0 it has none.",
        "appwrite_security_variables: {_APP_STORAGE_ANTIVIRUS: disabled}, or the host of a scanner in _APP_STORAGE_ANTIVIRUS_HOST",
        "Appwrite 1.8.1, app/views/install/compose.phtml; 1.9.6, docker-compose.yml",
        _scanner_there,
    ),
    Control(
        "platform.bucket_closed",
        "The bucket of the uploads is not listed to everybody",
        "critical",
        "Whoever lists it knows the name of every object, and may be allowed to fetch it: Appwrite's own permissions count only for what goes through "
        "Appwrite, and files above 20 MB are not encrypted. Appwrite marks each object private, which a policy of the bucket overrules.",
        "aws s3api put-bucket-acl --acl private --bucket BUCKET, with --endpoint-url for another store than AWS, and remove what the bucket's policy allows "
        "to everybody (aws s3api delete-bucket-policy)",
        "Appwrite 1.9.6, app/init/resources.php (getDevice); Amazon S3, ListObjectsV2",
        _bucket_closed,
    ),
    Control(
        "platform.database_closed",
        "A database or Redis outside the project is not open to the internet",
        "high",
        "It holds everything, and one password, or none, keeps the rest of the world out. Ports that services of the project publish have a control of their "
        "own (containers.ports_limited).",
        "write its private name or address into _APP_DB_HOST or _APP_REDIS_HOST, then: docker compose up -d. If it has none, let its firewall or its list of "
        "trusted sources admit your hosts alone, and waive this",
        "Appwrite 1.4.14 to 1.9.6, app/init/registers.php; Docker Engine, packet filtering and firewalls",
        _database_closed,
    ),
    Control(
        "platform.database_encrypted",
        "What goes to a database or Redis over the internet is encrypted",
        "high",
        "All rows, sessions and the server's password can be read on the way. To MariaDB, MySQL, MongoDB and Redis Appwrite speaks plain text whatever they "
        "offer, and reaches none that insists on TLS; to PostgreSQL it speaks TLS if that has it, as libpq does by itself.",
        _TUNNEL,
        _PLAIN,
        partial(_encrypted, reach=PUBLIC, otherwise="nothing goes there over the internet"),
    ),
    Control(
        "platform.database_encrypted_inside",
        "What goes to a database or Redis over a private network is encrypted",
        "low",
        "Whoever is in that network may read it on the way. If nobody is but you and whoever runs the server for you, waive this.",
        _TUNNEL
        + ". A VPN has private addresses, too, and is not told from any other network: if it goes through one, waive this",
        _PLAIN,
        partial(_encrypted, reach=PRIVATE, otherwise="nothing goes there over a private network"),
    ),
    Control(
        "platform.errors_logged",
        "Errors are sent to a logging provider",
        "low",
        "The log of a container is gone with it. Since 1.6 the value is a DSN, and only sentry and raygun are spelled alike in the list that is "
        "asked whether it knows the provider and in the one that makes it.",
        'appwrite_security_variables: {_APP_LOGGING_CONFIG: "<the DSN of a Sentry project>"}, up to 1.5 with _APP_LOGGING_PROVIDER: sentry as well',
        "Appwrite 1.6.2 and 1.9.6, app/init/registers.php; utopia-php/logger 0.6.2, src/Logger/Logger.php",
        _errors_logged,
    ),
    Control(
        "platform.audit_kept",
        "Audit logs of projects are kept for 14 days or longer",
        "medium",
        "What is deleted cannot be looked at after an incident. 14 days are Appwrite's own default; many regulations ask for a year.",
        "appwrite_security_variables: {_APP_MAINTENANCE_RETENTION_AUDIT: '31536000'}",
        "Appwrite 1.9.6, app/init/worker/message.php",
        partial(_kept, name="_APP_MAINTENANCE_RETENTION_AUDIT", seconds=1209600),
    ),
    Control(
        "platform.console_audit_kept",
        "Audit logs of the console are kept for six months or longer",
        "medium",
        "They tell who changed which project. Six months are Appwrite's own default; many regulations ask for a year.",
        "appwrite_security_variables: {_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE: '31536000'}",
        "Appwrite 1.9.6, app/init/worker/message.php",
        partial(_kept, name="_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE", seconds=15778800),
    ),
)
