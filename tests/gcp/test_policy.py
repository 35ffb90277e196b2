"""What `infra/gcp` may and may not allow, over the configuration as Terraform evaluates it, and as it is written.

The numbers in brackets are lines of the security checklist that `tests/README.md` tables.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gcp.configuration import INFRA, NUMBER, ROOT, Plan, Terraform, local, resources
from tokenkeeper.cli.doctor.deployment import source_hash

PROJECT = "my-project-123"
CONNECT, REFRESH, SCHEDULER, BUILD = (
    f"serviceAccount:tiktok-ads-{name}@{PROJECT}.iam.gserviceaccount.com"
    for name in ("connect", "refresh", "scheduler", "build")
)
FUNCTION = "google_cloudfunctions2_function"
TOKEN, REFRESHING, OTHERS = "tiktok-ads-token-acme", "tiktok-ads-refresh-acme", "somebody-elses-secret"
APP_SECRET, KEYS, KEEPER = "tiktok-ads-app-secret", "tiktok-ads-link-signing-keys", "tiktok-ads-keeper"
EVERY = {TOKEN, REFRESHING, APP_SECRET, KEYS, KEEPER, OTHERS}

Grant = tuple[str, frozenset[str], str]


def grants(plan: Plan) -> Iterator[Grant]:
    """Who may do what to which secrets, as member, permissions, and a regular expression over full secret names."""
    roles = {
        role["name"]: frozenset(role["permissions"]) for role in plan.all("google_project_iam_custom_role").values()
    }
    roles["roles/secretmanager.secretAccessor"] = frozenset({"secretmanager.versions.access"})
    for binding in plan.all("google_project_iam_member").values():
        if binding["role"] not in roles:
            continue
        conditions = binding["condition"]
        prefixes = re.findall(r'startsWith\("([^"]*)"\)', conditions[0]["expression"]) if conditions else [""]
        for prefix in prefixes:
            yield binding["member"], roles[binding["role"]], re.escape(prefix) + ".*"
    for binding in plan.all("google_secret_manager_secret_iam_member").values():
        name = f"projects/{NUMBER}/secrets/{binding['secret_id']}"
        yield binding["member"], roles[binding["role"]], re.escape(name) + "(/.*)?"


def rights(plan: Plan, member: str, secrets: set[str]) -> dict[str, set[str]]:
    """Everything that a member may do, and to which of some secrets, or to a version where it is a right on those."""
    found: dict[str, set[str]] = {}
    for who, permissions, where in grants(plan):
        for permission in permissions if who == member else ():
            short = permission.removeprefix("secretmanager.")
            version = "/versions/3" if short in {"versions.access", "versions.destroy", "versions.get"} else ""
            full = {secret: f"projects/{NUMBER}/secrets/{secret}{version}" for secret in secrets}
            found.setdefault(short, set()).update(name for name in secrets if re.fullmatch(where, full[name]))
    return found


class TestAccounts:
    def test_connect_writes_connections_and_reads_no_token(self, plan: Plan) -> None:
        """It creates secrets, adds versions and annotates token secrets; it reads its own credentials only [52]."""
        assert rights(plan, CONNECT, EVERY) == {
            "secrets.create": EVERY,  # asked of the project, where no condition on a name can hold
            "secrets.get": {TOKEN},
            "secrets.update": {TOKEN},
            "versions.add": {TOKEN, REFRESHING},
            "versions.access": {APP_SECRET, KEYS},
        }

    def test_refresh_keeps_connections_and_nothing_else(self, plan: Plan) -> None:
        """It reads, renews and clears up the connections' secrets, deletes no token, and annotates its notes [53]."""
        both = {TOKEN, REFRESHING}
        assert rights(plan, REFRESH, EVERY) == {
            "secrets.list": EVERY,  # asked of the project: names of other secrets show
            "secrets.get": both | {KEEPER},
            "secrets.update": both | {KEEPER},
            "secrets.delete": {REFRESHING},
            "versions.access": both | {APP_SECRET},
            **{f"versions.{name}": both for name in ("add", "destroy", "get", "list")},
        }
        assert plan.one("google_secret_manager_secret", "this.keeper")["secret_id"] == KEEPER

    def test_nobody_else_reads_by_default(self, plan: Plan) -> None:
        """Without readers, the two functions are the only ones with access to any value."""
        assert {who for who, what, _ in grants(plan) if "secretmanager.versions.access" in what} == {CONNECT, REFRESH}

    def test_only_connect_is_public(self, plan: Plan, other_plan: Plan) -> None:
        """Everybody may call connect and nothing else [55]; where that or audit logs are switched off, they are."""
        kind = "google_cloud_run_v2_service_iam_member"
        invokers = {(binding["name"], binding["member"]) for binding in plan.all(kind).values()}
        assert invokers == {("tiktok-ads-connect", "allUsers"), ("tiktok-ads-refresh", SCHEDULER)}
        assert [binding["name"] for binding in other_plan.all(kind).values()] == ["second-refresh"]
        assert other_plan.outputs["public_access"] == "no_invoker_check"
        assert not other_plan.all("google_project_iam_audit_config")
        text = "".join(file.read_text() for file in INFRA.glob("*.tf"))
        code = re.sub(r'error_message\s*=\s*".*"', "", text)
        assert (code.count("allUsers"), "allAuthenticatedUsers" in code) == (1, False)

    def test_each_has_its_own_and_none_can_give_rights(self, plan: Plan, full_plan: Plan) -> None:
        """No default account is used; nobody is owner, editor or administrator; no custom role sets policies."""
        accounts = {account["member"] for account in plan.all("google_service_account").values()}
        assert accounts == {CONNECT, REFRESH, SCHEDULER, BUILD}
        bindings = [found for found in full_plan.resources if found["type"].endswith("_iam_member")]
        given = {found["values"]["role"] for found in bindings}
        assert {role for role in given if not role.startswith("projects/")} == {
            "roles/artifactregistry.writer",
            "roles/cloudkms.cryptoKeyEncrypterDecrypter",
            "roles/logging.logWriter",
            "roles/pubsub.publisher",
            "roles/run.invoker",
            "roles/secretmanager.secretAccessor",
            "roles/storage.objectViewer",
        }
        roles = full_plan.all("google_project_iam_custom_role").values()
        permissions = {permission for role in roles for permission in role["permissions"]}
        assert not [name for name in permissions if not re.fullmatch(r"secretmanager\.(?!.*Policy)[\w.]+", name)]

    def test_bindings_are_never_authoritative(self) -> None:
        """An existing project's other members keep what they have."""
        assert not [kind for kind, _, _ in resources() if kind.endswith(("_iam_binding", "_iam_policy"))]


class TestReaders:
    def test_readers_read_token_secrets_only(self, full_plan: Plan) -> None:
        """All of them, or exactly the named ones; never refresh secrets, signing keys or the app secret [54]."""
        clients = {f"tiktok-ads-token-client-{number}" for number in range(12)}
        near = {f"tiktok-ads-token-{name}" for name in ("client", "client-1x", "client-12", "client-1-2")}
        secrets = EVERY | clients | near
        everything = rights(full_plan, f"serviceAccount:all@{PROJECT}.iam.gserviceaccount.com", secrets)
        assert everything == {"versions.access": {TOKEN} | clients | near}
        assert rights(full_plan, "group:some@example.com", secrets) == {"versions.access": clients}

    def test_conditions_can_hold(self, full_plan: Plan) -> None:
        """They name the project by number, as Secret Manager does, and have at most IAM's 12 logical operators."""
        found = [binding["condition"] for binding in full_plan.all("google_project_iam_member").values()]
        expressions = [condition[0]["expression"] for condition in found if condition]
        assert len(expressions) > 3
        assert max(expression.count("||") for expression in expressions) <= 12
        projects = [set(re.findall(r'startsWith\("projects/([^/]+)/', expression)) for expression in expressions]
        assert all(projects)
        assert set().union(*projects) <= {NUMBER, "_"}


class TestSecrets:
    def test_there_is_no_value_anywhere(self, full_plan: Plan) -> None:
        """Terraform makes containers only: no version, no variable, output or default that could hold a value."""
        kinds = {kind for where in ("resource", "data") for kind, _, _ in resources(where)}
        assert not [kind for kind in kinds if kind.startswith(("random_", "tls_")) or "secret_version" in kind]
        text = "".join(file.read_text() for file in INFRA.glob("*.tf"))
        assert not re.findall(r"secret_data|sensitive\s*=", text)
        assert not re.findall(r"[\"'][0-9a-f]{32,}[\"']|-----BEGIN|AIza[0-9A-Za-z_-]{30}", text)
        assert not [name for name in full_plan.outputs if re.search("value|password", name)]

    def test_where_and_how_they_are_kept_can_be_chosen(self, plan: Plan, full_plan: Plan) -> None:
        """By default Google chooses; else these regions and this key."""
        assert plan.one("google_secret_manager_secret", "this.app-secret")["replication"][0]["auto"]
        for secret in full_plan.all("google_secret_manager_secret").values():
            (replica,) = secret["replication"][0]["user_managed"][0]["replicas"]
            assert replica["location"] == "europe-west1"
            assert replica["customer_managed_encryption"][0]["kms_key_name"].endswith("cryptoKeys/k")


class TestFunctions:
    @pytest.mark.parametrize(
        ("name", "secrets"),
        [
            ("connect", [("LINK_SIGNING_KEYS", KEYS), ("TIKTOK_APP_SECRET", APP_SECRET)]),
            ("refresh", [("TIKTOK_APP_SECRET", APP_SECRET)]),
        ],
    )
    def test_are_built_and_run_as_themselves(
        self, plan: Plan, full_plan: Plan, name: str, secrets: list[tuple[str, str]]
    ) -> None:
        """One source and an entry point each; own accounts; credentials by reference, in the order of their names."""
        function = plan.one(FUNCTION, name)
        (build,), (service,) = function["build_config"], function["service_config"]
        assert f"serviceAccount:{service['service_account_email']}" == {"connect": CONNECT, "refresh": REFRESH}[name]
        assert build["service_account"].endswith(BUILD.partition(":")[2])
        tree = ast.parse((ROOT / "functions" / "main.py").read_text())
        assert build["entry_point"] == name
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert build["runtime"] == "python313"
        assert [(entry["key"], entry["secret"]) for entry in service["secret_environment_variables"]] == secrets
        assert not service["environment_variables"].keys() & dict(secrets).keys()
        # Cloud Functions would switch execution ids on, and they mix up lines.
        assert service["environment_variables"]["LOG_EXECUTION_ID"] == "false"
        assert service["ingress_settings"] == "ALLOW_ALL"
        # The organization's policy is about both, and Scheduler counts as internal.
        elsewhere = full_plan.service(name)
        assert elsewhere["ingress_settings"] == "ALLOW_INTERNAL_AND_GCLB"

    def test_the_build_names_its_source(self, terraform: Terraform, plan: Plan) -> None:
        """Both functions are built with the source's hash, which `make doctor` works out alike, and so does a shell."""
        expected = source_hash(terraform.directory.parents[1] / "functions")
        assert plan.outputs["source_hash"] == expected
        for function in plan.all(FUNCTION).values():
            assert function["build_config"][0]["environment_variables"] == {"SOURCE_HASH": expected}
        assert plan.one("google_storage_bucket_object", "source")["name"] == f"functions-{expected}.zip"

    def test_updates_and_replacements_are_whole(self) -> None:
        """The source is sent with its own generation; the callers of a replaced function are granted again."""
        members = {name: body for kind, name, body in resources() if kind == "google_cloud_run_v2_service_iam_member"}
        for member, name in {"public": "connect", "scheduler": "refresh"}.items():
            (function,) = [body for kind, own, body in resources() if (kind, own) == (FUNCTION, name)]
            (storage,) = function["build_config"][0]["source"][0]["storage_source"]
            assert storage["generation"] == "${google_storage_bucket_object.source.generation}"
            (rule,) = members[member]["lifecycle"]
            assert rule["replace_triggered_by"] == [f"${{{FUNCTION}.{name}.id}}"]

    def test_images_do_not_pile_up(self, plan: Plan) -> None:
        """Both functions' images go to a repository that keeps two; the build may write to it and to no other."""
        repository = plan.one("google_artifact_registry_repository", "images")
        keep, delete = sorted(repository["cleanup_policies"], key=lambda policy: policy["action"] != "KEEP")
        assert keep["most_recent_versions"][0]["keep_count"] == 2
        assert (delete["action"], delete["condition"][0]["older_than"]) == ("DELETE", "86400s")
        for function in plan.all(FUNCTION).values():
            assert function["build_config"][0]["docker_repository"] == repository["id"]
        (writer,) = plan.all("google_artifact_registry_repository_iam_member").values()
        assert (writer["member"], writer["role"]) == (BUILD, "roles/artifactregistry.writer")
        assert "roles/artifactregistry.writer" not in str(plan.all("google_project_iam_member"))

    def test_everything_in_the_source_gets_into_the_archive(self, terraform: Terraform, plan: Plan) -> None:
        """Code, pages and pinned requirements, and nothing else."""
        (archive,) = plan.all("archive_file").values()
        folder = terraform.directory / archive["source_dir"]
        there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        expected = {file for file in there if "__pycache__" not in file and not file.endswith((".in", ".md"))}
        assert {"main.py", "requirements.txt"} < there - set(archive["excludes"]) == expected < there

    def test_dependencies_are_pinned_with_hashes(self) -> None:
        """What the cloud installs is what was tested [58]."""
        text = (ROOT / "functions" / "requirements.txt").read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert lines
        assert all(re.search(r"==\S+", line) and "--hash=sha256:" in line for line in lines)

    def test_the_size_is_capped(self, plan: Plan) -> None:
        """There is a cap for connect; refresh is one instance that takes one request at a time [50]."""
        connect, refresh = (plan.service(name) for name in ("connect", "refresh"))
        assert connect["max_instance_count"] == 3
        threads = connect["environment_variables"]["THREADS"]
        assert threads == str(connect["max_instance_request_concurrency"])
        assert refresh["max_instance_count"] == refresh["max_instance_request_concurrency"] == 1

    def test_the_address_is_known_beforehand_and_fits_tiktoks_field(self, terraform: Terraform) -> None:
        """The longest region and project stay within 100 characters; a longer name is refused before anything."""
        longest = {"region": "northamerica-northeast1", "project_id": "p" * 30}
        plan = terraform.planned(**longest, name="n" * 10)
        assert len(plan.outputs["public_url"]) == 100
        told = plan.service("connect")["environment_variables"]
        assert told["PUBLIC_URL"] == plan.outputs["public_url"]
        assert "longer than 100 characters" in terraform.refusal(**longest, name="n" * 20)


class TestDeadlines:
    def test_agree(self, plan: Plan, other_plan: Plan) -> None:
        """Budget and 120 s for storing fit into the function's timeout, and that into the Scheduler's deadline."""
        for budget, made in {1500: plan, 60: other_plan}.items():
            service = made.service("refresh")
            deadline = int(made.one("google_cloud_scheduler_job", "refresh")["attempt_deadline"].removesuffix("s"))
            assert service["environment_variables"]["RUN_BUDGET_SECONDS"] == str(budget)
            assert budget + 120 < service["timeout_seconds"] < deadline <= 1800

    def test_a_callback_fits_into_its_request(self, plan: Plan) -> None:
        """The timeout of connect leaves a callback its whole budget, and an instance time to start."""
        service = plan.service("connect")
        assert int(service["environment_variables"]["CALLBACK_BUDGET_SECONDS"]) + 10 <= service["timeout_seconds"]

    def test_the_scheduler_calls_as_itself_and_is_over_before_the_next_run(self, plan: Plan) -> None:
        """Its token is for refresh's own address; all attempts and pauses at their longest fit into six hours."""
        job = plan.one("google_cloud_scheduler_job", "refresh")
        (retry,), (target,) = job["retry_config"], job["http_target"]
        (token,) = target["oidc_token"]
        assert target["uri"] == token["audience"] == plan.service("refresh")["uri"]
        assert f"serviceAccount:{token['service_account_email']}" == SCHEDULER
        pause, longest = (int(retry[key].removesuffix("s")) for key in ("min_backoff_duration", "max_backoff_duration"))
        pauses = sum(
            min(pause * 2 ** min(number, retry["max_doublings"]), longest) for number in range(retry["retry_count"])
        )
        attempts = (retry["retry_count"] + 1) * int(job["attempt_deadline"].removesuffix("s"))
        assert pauses + attempts < 6 * 3600
        assert job["schedule"] == "17 */6 * * *"


class TestLogs:
    def test_addresses_with_codes_are_not_kept(self, plan: Plan) -> None:
        """The request log keeps nothing of connect that has a query, not even of the first callback [57]."""
        exclusion = plan.one("google_logging_project_exclusion", "addresses_with_codes")
        assert not exclusion["disabled"]
        assert exclusion["filter"] == (
            'log_id("run.googleapis.com/requests") AND resource.type="cloud_run_revision" AND '
            'resource.labels.service_name="tiktok-ads-connect" AND httpRequest.requestUrl:"?"'
        )
        (function,) = [body for kind, name, body in resources() if (kind, name) == (FUNCTION, "connect")]
        assert "${google_logging_project_exclusion.addresses_with_codes}" in function["depends_on"]

    def test_who_read_which_secret_is_logged(self, plan: Plan) -> None:
        """Data-access audit logs for Secret Manager are on [56]."""
        (audit,) = plan.all("google_project_iam_audit_config").values()
        assert audit["service"] == "secretmanager.googleapis.com"
        assert {entry["log_type"] for entry in audit["audit_log_config"]} == {"ADMIN_READ", "DATA_READ", "DATA_WRITE"}


class TestAlerts:
    def test_every_alert_says_what_to_do(self, full_plan: Plan) -> None:
        """Each has a severity, a text that names a command or a place to look, and goes to every channel."""
        policies = full_plan.all("google_monitoring_alert_policy")
        assert len(policies) >= 8
        # By its title it is taken over, and another installation's is not.
        (channel,) = full_plan.all("google_monitoring_notification_channel").values()
        assert channel["display_name"] == "TikTok token keeper (tiktok-ads)"
        for name, policy in policies.items():
            text = policy["documentation"][0]["content"]
            assert 150 < len(text.encode()) < 8192, name
            assert re.search(r"`(make|gcloud) |log has the reasons", text), name
            assert policy["severity"] in {"WARNING", "ERROR", "CRITICAL"}
            assert [channel.rpartition("/")[2] for channel in policy["notification_channels"]] == ["42", "7"]

    def test_every_filter_names_a_metric_that_exists(self, plan: Plan) -> None:
        """Alerts and charts look at metrics that are made here, or at one of Cloud Run's."""
        made = {
            f"logging.googleapis.com/user/{metric['name']}" for metric in plan.all("google_logging_metric").values()
        }
        text = json.dumps(plan.all("google_monitoring_alert_policy")) + json.dumps(
            plan.one("google_monitoring_dashboard", "this")["dashboard_json"]
        )
        named = set(re.findall(r'metric\.type=\\+"([^"\\]+)\\+"', text))
        assert named - made == {"run.googleapis.com/request_count"}
        assert made <= named | {"logging.googleapis.com/user/tiktok-ads-runs"}

    def test_labels_in_texts_and_groups_are_labels_of_the_metric(self, plan: Plan) -> None:
        """A placeholder that the metric has no label for would stay empty in the message."""
        metrics = {f"logging.googleapis.com/user/{m['name']}": m for m in plan.all("google_logging_metric").values()}
        for name, policy in plan.all("google_monitoring_alert_policy").items():
            for threshold in policy["conditions"][0]["condition_threshold"]:
                metric = re.findall(r'metric\.type="([^"]+)"', threshold["filter"])[0]
                labels = set(metrics.get(metric, {}).get("label_extractors") or {"response_code_class": ""})
                assert set(re.findall(r"metric\.label\.(\w+)", json.dumps(policy))) <= labels, name

    def test_a_missed_run_is_noticed_and_a_retried_one_alarms_nobody(self, plan: Plan) -> None:
        """The query counts nothing as zero, and no limited run; thresholds lie above one failed attempt."""
        policy = plan.one("google_monitoring_alert_policy", "missed_run")
        (condition,) = policy["conditions"][0]["condition_prometheus_query_language"]
        assert "increase(logging_googleapis_com:user_tiktok_ads_runs{" in condition["query"]
        assert "or vector(0)) < 1" in condition["query"]
        assert "[13h]" in condition["query"]
        assert condition["disable_metric_validation"]
        assert "NOT jsonPayload.limited=true" in plan.one("google_logging_metric", "counter.runs")["filter"]
        attempts = plan.one("google_cloud_scheduler_job", "refresh")["retry_config"][0]["retry_count"] + 1
        for name in ("counted.failing-runs", "counted.scheduler"):
            policy = plan.one("google_monitoring_alert_policy", name)
            assert 1 < policy["conditions"][0]["condition_threshold"][0]["threshold_value"] < attempts

    def test_the_dashboard_holds_nothing_that_google_leaves_out(self, plan: Plan) -> None:
        """Zeros and empty values are not given back, and would be a change in every plan."""

        def empty(value: Any) -> bool:
            inner = list(value.values()) if isinstance(value, dict) else value
            if isinstance(inner, list):
                return not inner or any(empty(item) for item in inner)
            return value in (0, "", None, False)

        assert not empty(json.loads(plan.one("google_monitoring_dashboard", "this")["dashboard_json"]))


class TestOptions:
    def test_events_go_out(self, full_plan: Plan, plan: Plan) -> None:
        """With the option there is a topic that hears of every event from NOTICE on, and its sink may publish to it."""
        assert not plan.all("google_pubsub_topic")
        sink = full_plan.one("google_logging_project_sink", "events.0")
        assert sink["destination"] == f"pubsub.googleapis.com/projects/{PROJECT}/topics/tiktok-ads-events"
        assert 'service_name=("tiktok-ads-connect" OR "tiktok-ads-refresh") AND jsonPayload.event:*' in sink["filter"]
        assert sink["filter"].endswith('(severity>=NOTICE OR jsonPayload.event="token.refreshed")')
        (publisher,) = full_plan.all("google_pubsub_topic_iam_member").values()
        assert (publisher["topic"], publisher["member"]) == ("tiktok-ads-events", sink["writer_identity"])
        assert sink["unique_writer_identity"]

    def test_ids_of_deleted_roles_can_be_avoided(self, full_plan: Plan) -> None:
        """Google keeps the ids of deleted roles for 37 days; a suffix makes others."""
        roles = full_plan.all("google_project_iam_custom_role").values()
        assert {role["role_id"] for role in roles} == {f"tiktok_ads_tokens_{name}_2" for name in local("roles")}

    def test_scopes_of_accounts_reach_connect(self, plan: Plan, full_plan: Plan) -> None:
        """Unset, the code's own default holds; both redirect addresses are said."""
        told = [made.service("connect")["environment_variables"] for made in (plan, full_plan)]
        assert "TIKTOK_ACCOUNT_SCOPES" not in told[0]
        assert told[1]["TIKTOK_ACCOUNT_SCOPES"] == "user.info.basic,video.list"
        for address in (plan.outputs["public_url"], plan.outputs["account_redirect_url"]):
            assert f"{address}\n" in plan.outputs["next_steps"]
        assert plan.outputs["account_redirect_url"] == plan.outputs["public_url"] + "/"

    def test_two_installations_fit_into_one_project(self, plan: Plan, other_plan: Plan) -> None:
        """With other names, nothing of one has the name of anything of the other."""
        for kind, key in {
            FUNCTION: "name",
            "google_logging_metric": "name",
            "google_logging_project_exclusion": "name",
            "google_monitoring_alert_policy": "display_name",
            "google_monitoring_dashboard": "dashboard_json",
            "google_project_iam_custom_role": "role_id",
            "google_secret_manager_secret": "secret_id",
            "google_service_account": "account_id",
            "google_storage_bucket": "name",
        }.items():
            names = [{values[key] for values in made.all(kind).values()} for made in (plan, other_plan)]
            assert not names[0] & names[1], kind
