"""What `infra/gcp` may and may not allow, over the configuration as Terraform evaluates it, and as it is written.

The numbers in brackets are lines of the security checklist that `tests/README.md` tables.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from gcp.configuration import INFRA, NUMBER, ROOT, Plan, Terraform, files, local, resources
from tokenkeeper.cli.doctor.deployment import source_hash

PROJECT = "my-project-123"
CONNECT = f"serviceAccount:tiktok-ads-connect@{PROJECT}.iam.gserviceaccount.com"
REFRESH = f"serviceAccount:tiktok-ads-refresh@{PROJECT}.iam.gserviceaccount.com"
SCHEDULER = f"serviceAccount:tiktok-ads-scheduler@{PROJECT}.iam.gserviceaccount.com"
BUILD = f"serviceAccount:tiktok-ads-build@{PROJECT}.iam.gserviceaccount.com"
ACCESSOR = {"secretmanager.versions.access"}  # all of roles/secretmanager.secretAccessor that has to do with values

Grant = tuple[str, frozenset[str], str]


def grants(plan: Plan) -> Iterator[Grant]:
    """Who may do what to which secrets, as member, permissions, and a regular expression over full secret names."""
    roles = {
        role["name"]: frozenset(role["permissions"]) for role in plan.all("google_project_iam_custom_role").values()
    }
    roles["roles/secretmanager.secretAccessor"] = frozenset(ACCESSOR)
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


def may(plan: Plan, member: str, permission: str, secret: str) -> bool:
    """Whether a member has a permission on a secret, or on a version of it where it is one of versions."""
    name = f"projects/{NUMBER}/secrets/{secret}"
    if permission in {"secretmanager.versions.access", "secretmanager.versions.destroy", "secretmanager.versions.get"}:
        name += "/versions/3"
    return any(who == member and permission in what and re.fullmatch(where, name) for who, what, where in grants(plan))


TOKEN, REFRESHING, OTHERS = "tiktok-ads-token-acme", "tiktok-ads-refresh-acme", "somebody-elses-secret"
APP_SECRET, KEYS, KEEPER = "tiktok-ads-app-secret", "tiktok-ads-link-signing-keys", "tiktok-ads-keeper"
EVERY = (TOKEN, REFRESHING, APP_SECRET, KEYS, KEEPER, OTHERS)


class TestWhoMayCall:
    def test_only_connect_is_public(self, plan: Plan) -> None:
        """Everybody may call connect and nothing else [55]."""
        invokers = {
            (binding["name"], binding["member"])
            for binding in plan.all("google_cloud_run_v2_service_iam_member").values()
        }
        assert invokers == {("tiktok-ads-connect", "allUsers"), ("tiktok-ads-refresh", SCHEDULER)}

    def test_everybody_is_named_once_in_all_the_files(self) -> None:
        """`allUsers` stands in one place, and `allAuthenticatedUsers` only where it is refused."""
        text = "".join(file.read_text() for file in INFRA.glob("*.tf"))
        code = re.sub(r'error_message\s*=\s*".*"', "", text)
        assert code.count("allUsers") == 1
        assert "allAuthenticatedUsers" not in code
        public = [body for _, _, body in resources() if body.get("member") == "allUsers"]
        assert [body["name"] for body in public] == ["${google_cloudfunctions2_function.connect.name}"]

    def test_the_scheduler_says_who_it_is_and_to_whom(self, plan: Plan) -> None:
        """Its token is for refresh's own address, and of the account that may call it."""
        (target,) = plan.one("google_cloud_scheduler_job", "refresh")["http_target"]
        (token,) = target["oidc_token"]
        uri = plan.one("google_cloudfunctions2_function", "refresh")["service_config"][0]["uri"]
        assert target["uri"] == token["audience"] == uri
        assert f"serviceAccount:{token['service_account_email']}" == SCHEDULER


class TestConnectsAccount:
    def test_it_writes_connections(self, plan: Plan) -> None:
        """It creates secrets, adds versions, and updates labels and annotations under the prefix [52]."""
        assert may(plan, CONNECT, "secretmanager.secrets.create", TOKEN)
        for permission in ("secrets.get", "secrets.update", "versions.add"):
            assert may(plan, CONNECT, f"secretmanager.{permission}", TOKEN)
        assert may(plan, CONNECT, "secretmanager.versions.add", REFRESHING)

    @pytest.mark.parametrize("secret", EVERY)
    def test_it_reads_and_destroys_nothing(self, plan: Plan, secret: str) -> None:
        """It can read no stored token, destroy no version and delete no secret [52]; of credentials, only its own."""
        for permission in ("versions.destroy", "versions.disable", "secrets.delete", "secrets.setIamPolicy"):
            assert not may(plan, CONNECT, f"secretmanager.{permission}", secret)
        assert may(plan, CONNECT, "secretmanager.versions.access", secret) == (secret in {APP_SECRET, KEYS})

    @pytest.mark.parametrize("secret", [APP_SECRET, KEYS, KEEPER, OTHERS])
    def test_it_changes_nothing_else(self, plan: Plan, secret: str) -> None:
        """App secret, signing keys and everybody else's secrets cannot be changed through the public address."""
        for permission in ("secrets.update", "versions.add"):
            assert not may(plan, CONNECT, f"secretmanager.{permission}", secret)


class TestRefreshsAccount:
    def test_it_keeps_connections(self, plan: Plan) -> None:
        """It reads, renews and clears up the connections' secrets, and annotates its notes [53]."""
        for secret in (TOKEN, REFRESHING):
            for permission in ("secrets.get", "versions.access", "versions.add", "versions.destroy"):
                assert may(plan, REFRESH, f"secretmanager.{permission}", secret)
        assert may(plan, REFRESH, "secretmanager.secrets.update", TOKEN)
        assert may(plan, REFRESH, "secretmanager.secrets.delete", REFRESHING)
        assert may(plan, REFRESH, "secretmanager.secrets.update", KEEPER)
        assert may(plan, REFRESH, "secretmanager.versions.access", APP_SECRET)

    def test_it_deletes_no_token(self, plan: Plan) -> None:
        """Of a connection, only a refresh secret can go."""
        for secret in (TOKEN, APP_SECRET, KEYS, KEEPER, OTHERS):
            assert not may(plan, REFRESH, "secretmanager.secrets.delete", secret)

    @pytest.mark.parametrize("secret", [KEYS, OTHERS])
    def test_it_has_no_part_in_anything_else(self, plan: Plan, secret: str) -> None:
        """The signing keys and everybody else's secrets are out of its reach; their names show in lists [53]."""
        for permission in ("secrets.get", "secrets.update", "versions.access", "versions.add", "versions.destroy"):
            assert not may(plan, REFRESH, f"secretmanager.{permission}", secret)

    def test_it_creates_nothing(self, plan: Plan) -> None:
        """The place for its notes is made with the rest."""
        assert not may(plan, REFRESH, "secretmanager.secrets.create", KEEPER)
        assert plan.one("google_secret_manager_secret", "this.keeper")["secret_id"] == KEEPER


class TestReaders:
    ALL = f"serviceAccount:all@{PROJECT}.iam.gserviceaccount.com"
    SOME = "group:some@example.com"

    def test_nobody_reads_by_default(self, plan: Plan) -> None:
        """Without readers, the two functions are the only ones with access to any value."""
        assert {who for who, what, _ in grants(plan) if what & ACCESSOR} == {CONNECT, REFRESH}

    @pytest.mark.parametrize("secret", [REFRESHING, APP_SECRET, KEYS, KEEPER, OTHERS])
    def test_readers_read_token_secrets_only(self, full_plan: Plan, secret: str) -> None:
        """Never refresh secrets, signing keys or the app secret [54]."""
        for reader in (self.ALL, self.SOME):
            assert not may(full_plan, reader, "secretmanager.versions.access", secret)

    def test_a_reader_of_all_reads_every_token(self, full_plan: Plan) -> None:
        """Later connections included."""
        assert may(full_plan, self.ALL, "secretmanager.versions.access", TOKEN)

    def test_a_reader_of_some_reads_those(self, full_plan: Plan) -> None:
        """Exactly the named ones, also where one begins like another, and more than fit into one condition."""
        for number in range(12):
            assert may(full_plan, self.SOME, "secretmanager.versions.access", f"tiktok-ads-token-client-{number}")
        for name in ("acme", "client", "client-1x", "client-12", "client-1-2"):
            assert not may(full_plan, self.SOME, "secretmanager.versions.access", f"tiktok-ads-token-{name}")

    def test_conditions_stay_within_iams_limits(self, full_plan: Plan) -> None:
        """At most 12 logical operators in a condition."""
        bindings = [binding for binding in full_plan.all("google_project_iam_member").values() if binding["condition"]]
        assert len(bindings) > 3
        assert all(binding["condition"][0]["expression"].count("||") <= 12 for binding in bindings)

    def test_conditions_name_the_project_by_number(self, full_plan: Plan) -> None:
        """Secret Manager's resource names have the project's number; one with its id would never hold."""
        for binding in full_plan.all("google_project_iam_member").values():
            for condition in binding["condition"]:
                found = re.findall(r'startsWith\("(projects/[^/]+/)', condition["expression"])
                assert set(found) <= {f"projects/{NUMBER}/", "projects/_/"}
                assert found


class TestAccounts:
    def test_each_has_its_own(self, plan: Plan) -> None:
        """Both functions, the Scheduler and the build have accounts of their own, and no default one is used."""
        accounts = {account["member"] for account in plan.all("google_service_account").values()}
        assert accounts == {CONNECT, REFRESH, SCHEDULER, BUILD}
        for name in ("connect", "refresh"):
            function = plan.one("google_cloudfunctions2_function", name)
            assert function["service_config"][0]["service_account_email"] in globals()[name.upper()]
            assert function["build_config"][0]["service_account"].endswith(BUILD.partition(":")[2])

    def test_no_role_is_a_basic_one_and_none_can_give_rights(self, full_plan: Plan) -> None:
        """Nobody is owner, editor, viewer or administrator of anything, and no custom role sets policies."""
        given = {binding["role"] for kind in _BINDINGS for binding in full_plan.all(kind).values()}
        assert {role for role in given if not role.startswith("projects/")} == {
            "roles/artifactregistry.writer",
            "roles/cloudkms.cryptoKeyEncrypterDecrypter",
            "roles/logging.logWriter",
            "roles/pubsub.publisher",
            "roles/run.invoker",
            "roles/secretmanager.secretAccessor",
            "roles/storage.objectViewer",
        }
        permissions = {
            p for role in full_plan.all("google_project_iam_custom_role").values() for p in role["permissions"]
        }
        assert not [permission for permission in permissions if not permission.startswith("secretmanager.")]
        assert not [permission for permission in permissions if "Policy" in permission or "*" in permission]

    def test_bindings_are_never_authoritative(self) -> None:
        """An existing project's other members keep what they have."""
        assert not [kind for kind, _, _ in resources() if kind.endswith(("_iam_binding", "_iam_policy"))]


_BINDINGS = (
    "google_artifact_registry_repository_iam_member",
    "google_cloud_run_v2_service_iam_member",
    "google_kms_crypto_key_iam_member",
    "google_project_iam_member",
    "google_pubsub_topic_iam_member",
    "google_secret_manager_secret_iam_member",
)


class TestSecrets:
    def test_there_is_no_value_anywhere(self) -> None:
        """Terraform makes containers only: no version, no variable, output or default that could hold a value."""
        kinds = {kind for where in ("resource", "data") for kind, _, _ in resources(where)}
        assert not [kind for kind in kinds if kind.startswith(("random_", "tls_")) or "secret_version" in kind]
        text = "".join(file.read_text() for file in INFRA.glob("*.tf"))
        assert not re.findall(r"secret_data|sensitive\s*=", text)
        assert not re.findall(r"[\"'][0-9a-f]{32,}[\"']|-----BEGIN|AIza[0-9A-Za-z_-]{30}", text)

    def test_credentials_reach_the_functions_as_references(self, plan: Plan) -> None:
        """The app's secret and the signing keys are secret environment variables, each only where it is needed."""
        for name, expected in {
            "connect": {"TIKTOK_APP_SECRET": APP_SECRET, "LINK_SIGNING_KEYS": KEYS},
            "refresh": {"TIKTOK_APP_SECRET": APP_SECRET},
        }.items():
            service = plan.one("google_cloudfunctions2_function", name)["service_config"][0]
            assert {entry["key"]: entry["secret"] for entry in service["secret_environment_variables"]} == expected
            assert not service["environment_variables"].keys() & expected.keys()

    def test_nothing_secret_is_an_output(self, full_plan: Plan) -> None:
        """Outputs hold names and addresses."""
        assert not [name for name in full_plan.outputs if re.search("value|password", name)]
        assert "secret_name" in str(full_plan.outputs.keys())

    def test_where_and_how_secrets_are_kept_can_be_chosen(self, plan: Plan, full_plan: Plan) -> None:
        """By default Google chooses; else these regions and this key."""
        assert plan.one("google_secret_manager_secret", "this.app-secret")["replication"][0]["auto"]
        for secret in full_plan.all("google_secret_manager_secret").values():
            (replica,) = secret["replication"][0]["user_managed"][0]["replicas"]
            assert replica["location"] == "europe-west1"
            assert replica["customer_managed_encryption"][0]["kms_key_name"].endswith("cryptoKeys/k")


class TestFunctions:
    @pytest.mark.parametrize("name", ["connect", "refresh"])
    def test_entry_points_are_functions_of_the_source(self, plan: Plan, name: str) -> None:
        """Both are deployed from one source, each with the function of its name, on Python 3.13."""
        (build,) = plan.one("google_cloudfunctions2_function", name)["build_config"]
        tree = ast.parse((ROOT / "functions" / "main.py").read_text())
        assert build["entry_point"] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert build["entry_point"] == name
        assert build["runtime"] == "python313"

    def test_the_build_names_its_source(self, terraform: Terraform, plan: Plan) -> None:
        """Both functions are built with the source's hash, which a shell and deploy's Python work out alike."""
        functions = terraform.directory.parents[1] / "functions"
        rubbish = functions / "tokenkeeper" / "__pycache__"
        rubbish.mkdir(exist_ok=True)
        (rubbish / "rubbish.pyc").write_bytes(b"\xff")
        shell = source_hash.__doc__.partition("In a shell:")[2].partition("Args:")[0]  # type: ignore[union-attr]
        done = subprocess.run(["sh", "-c", shell], cwd=functions, capture_output=True, text=True, check=True)
        expected = source_hash(functions)
        assert done.stdout.split()[0] == plan.outputs["source_hash"] == expected
        for function in plan.all("google_cloudfunctions2_function").values():
            assert function["build_config"][0]["environment_variables"] == {"SOURCE_HASH": expected}
        assert plan.one("google_storage_bucket_object", "source")["name"] == f"functions-{expected}.zip"
        new = functions / "tokenkeeper" / "new.py"
        new.write_text("")
        assert source_hash(functions) != expected
        new.unlink()

    def test_the_source_is_sent_with_its_generation(self) -> None:
        """Else an update would send the generation of Google's own copy beside the new object."""
        for kind, _, body in resources():
            if kind == "google_cloudfunctions2_function":
                storage = body["build_config"][0]["source"][0]["storage_source"][0]
                assert storage["generation"] == "${google_storage_bucket_object.source.generation}"

    def test_who_may_call_a_function_that_is_replaced(self) -> None:
        """Its new service has lost its callers: they are granted again in the same go."""
        members = {name: body for kind, name, body in resources() if kind == "google_cloud_run_v2_service_iam_member"}
        for name, function in {"public": "connect", "scheduler": "refresh"}.items():
            (rule,) = members[name]["lifecycle"]
            assert rule["replace_triggered_by"] == [f"${{google_cloudfunctions2_function.{function}.id}}"]

    def test_images_do_not_pile_up(self, plan: Plan) -> None:
        """Both functions' images go to a repository that keeps two; the build may write to it and to no other."""
        repository = plan.one("google_artifact_registry_repository", "images")
        keep, delete = sorted(repository["cleanup_policies"], key=lambda policy: policy["action"] != "KEEP")
        assert keep["most_recent_versions"][0]["keep_count"] == 2
        assert (delete["action"], delete["condition"][0]["older_than"]) == ("DELETE", "86400s")
        for function in plan.all("google_cloudfunctions2_function").values():
            assert function["build_config"][0]["docker_repository"] == repository["id"]
        (writer,) = plan.all("google_artifact_registry_repository_iam_member").values()
        assert (writer["member"], writer["role"]) == (BUILD, "roles/artifactregistry.writer")
        assert "roles/artifactregistry.writer" not in str(plan.all("google_project_iam_member"))

    def test_secret_variables_are_in_the_order_of_their_names(self, plan: Plan) -> None:
        """As gcloud sends them, so that an order of Google's own makes no difference."""
        for function in plan.all("google_cloudfunctions2_function").values():
            names = [entry["key"] for entry in function["service_config"][0]["secret_environment_variables"]]
            assert names == sorted(names)

    def test_everything_in_the_source_gets_into_the_archive(self, plan: Plan) -> None:
        """Code, pages and pinned requirements, and nothing else."""
        (archive,) = [found["values"] for found in plan.resources if found["type"] == "archive_file"]
        folder = ROOT / "functions"
        there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        expected = {file for file in there if "__pycache__" not in file and not file.endswith((".in", ".md", ".pyc"))}
        assert {source["filename"] for source in archive["source"]} == expected

    def test_dependencies_are_pinned_with_hashes(self) -> None:
        """What the cloud installs is what was tested [58]."""
        text = (ROOT / "functions" / "requirements.txt").read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert lines
        assert all(re.search(r"==\S+", line) and "--hash=sha256:" in line for line in lines)

    def test_the_size_is_capped(self, plan: Plan) -> None:
        """There is a cap for connect; refresh is one instance that takes one request at a time [50]."""
        service = {
            name: plan.one("google_cloudfunctions2_function", name)["service_config"][0]
            for name in ("connect", "refresh")
        }
        assert service["connect"]["max_instance_count"] == 3
        assert service["connect"]["environment_variables"]["THREADS"] == str(
            service["connect"]["max_instance_request_concurrency"]
        )
        assert service["refresh"]["max_instance_count"] == service["refresh"]["max_instance_request_concurrency"] == 1

    @pytest.mark.parametrize("budget", [60, 900, 1500])
    def test_deadlines_agree(self, terraform: Terraform, budget: int) -> None:
        """Budget and 120 s for storing fit into the function's timeout, and that into the Scheduler's deadline."""
        plan = terraform.planned(run_budget_seconds=budget)
        service = plan.one("google_cloudfunctions2_function", "refresh")["service_config"][0]
        job = plan.one("google_cloud_scheduler_job", "refresh")
        deadline = int(job["attempt_deadline"].removesuffix("s"))
        told = int(service["environment_variables"]["RUN_BUDGET_SECONDS"])
        assert told == budget
        assert told + 120 < service["timeout_seconds"] < deadline <= 1800

    def test_a_callback_fits_into_its_request(self, plan: Plan) -> None:
        """The timeout of connect leaves a callback its whole budget, and an instance time to start."""
        service = plan.one("google_cloudfunctions2_function", "connect")["service_config"][0]
        assert int(service["environment_variables"]["CALLBACK_BUDGET_SECONDS"]) + 10 <= service["timeout_seconds"]

    def test_retries_are_over_before_the_next_run(self, plan: Plan) -> None:
        """All attempts at their longest, and the pauses between them, fit into the six hours of the schedule."""
        job = plan.one("google_cloud_scheduler_job", "refresh")
        (retry,) = job["retry_config"]
        pause, longest = (int(retry[key].removesuffix("s")) for key in ("min_backoff_duration", "max_backoff_duration"))
        pauses = sum(
            min(pause * 2 ** min(number, retry["max_doublings"]), longest) for number in range(retry["retry_count"])
        )
        attempts = (retry["retry_count"] + 1) * int(job["attempt_deadline"].removesuffix("s"))
        assert pauses + attempts < 6 * 3600
        assert job["schedule"] == "17 */6 * * *"

    def test_the_address_is_known_beforehand_and_fits_tiktoks_field(self, terraform: Terraform) -> None:
        """Even the longest region, project and name stay within 100 characters."""
        plan = terraform.planned(region="northamerica-northeast1", project_id="p" * 30, name="n" * 10)
        assert len(plan.outputs["public_url"]) == 100
        url = plan.one("google_cloudfunctions2_function", "connect")["service_config"][0]["environment_variables"]
        assert url["PUBLIC_URL"] == plan.outputs["public_url"]

    def test_an_address_that_is_too_long_stops_the_plan(self, terraform: Terraform) -> None:
        """It is said before anything is made."""
        done = terraform.run(
            *("plan", "-input=false", "-no-color", "-refresh=false"),
            region="northamerica-northeast1",
            project_id="p" * 30,
            name="n" * 20,
        )
        assert done.returncode == 1
        assert "longer than 100 characters" in " ".join(done.stderr.replace("│", " ").split())


class TestLogs:
    def test_addresses_with_codes_are_not_kept(self, plan: Plan) -> None:
        """The request log keeps nothing of connect that has a query: codes, states and links are part of it [57]."""
        exclusion = plan.one("google_logging_project_exclusion", "addresses_with_codes")
        assert not exclusion["disabled"]
        assert exclusion["filter"] == (
            'log_id("run.googleapis.com/requests") AND resource.type="cloud_run_revision" AND '
            'resource.labels.service_name="tiktok-ads-connect" AND httpRequest.requestUrl:"?"'
        )

    def test_it_is_in_place_before_the_function_is(self) -> None:
        """Not even the first callback's address is kept."""
        (function,) = [body for kind, name, body in resources() if (kind, name) == _CONNECT_FUNCTION]
        assert "${google_logging_project_exclusion.addresses_with_codes}" in function["depends_on"]

    def test_who_read_which_secret_is_logged(self, plan: Plan, terraform: Terraform) -> None:
        """Data-access audit logs for Secret Manager are on, unless somebody says that they are already [56]."""
        (audit,) = plan.all("google_project_iam_audit_config").values()
        assert audit["service"] == "secretmanager.googleapis.com"
        assert {entry["log_type"] for entry in audit["audit_log_config"]} == {"ADMIN_READ", "DATA_READ", "DATA_WRITE"}
        assert not terraform.planned(audit_logs=False).all("google_project_iam_audit_config")

    def test_execution_ids_stay_off(self, plan: Plan) -> None:
        """Cloud Functions would switch them on, and they mix up lines."""
        for function in plan.all("google_cloudfunctions2_function").values():
            assert function["service_config"][0]["environment_variables"]["LOG_EXECUTION_ID"] == "false"


_CONNECT_FUNCTION = ("google_cloudfunctions2_function", "connect")


class TestAlerts:
    def test_every_alert_says_what_to_do(self, full_plan: Plan) -> None:
        """Each has a severity, a text that names a command or a place to look, and goes to every channel."""
        policies = full_plan.all("google_monitoring_alert_policy")
        assert len(policies) >= 8
        for name, policy in policies.items():
            (documentation,) = policy["documentation"]
            assert len(documentation["content"]) > 150, name
            assert (
                re.search(r"`(make|gcloud) ", documentation["content"])
                or "log has the reasons" in documentation["content"]
            )
            assert len(documentation["content"].encode()) < 8192
            assert policy["severity"] in {"WARNING", "ERROR", "CRITICAL"}
            assert policy["notification_channels"] == [
                f"projects/{PROJECT}/notificationChannels/42",
                f"projects/{PROJECT}/notificationChannels/7",
            ]

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
        (query,) = re.findall(r"increase\(([^{]+)\{", text)
        assert query == "logging_googleapis_com:user_tiktok_ads_runs"

    def test_labels_in_texts_and_groups_are_labels_of_the_metric(self, plan: Plan) -> None:
        """A placeholder that the metric has no label for would stay empty in the message."""
        metrics = {f"logging.googleapis.com/user/{m['name']}": m for m in plan.all("google_logging_metric").values()}
        for name, policy in plan.all("google_monitoring_alert_policy").items():
            text = json.dumps(policy)
            (condition,) = policy["conditions"]
            if not condition["condition_threshold"]:
                continue
            metric = re.findall(r'metric\.type="([^"]+)"', condition["condition_threshold"][0]["filter"])[0]
            labels = set(metrics.get(metric, {}).get("label_extractors") or {"response_code_class": ""})
            assert set(re.findall(r"metric\.label\.(\w+)", text)) <= labels, name

    def test_a_missed_run_is_noticed_where_there_is_no_data_at_all(self, plan: Plan) -> None:
        """The query counts nothing as zero, and looks back no longer than Cloud Monitoring can."""
        policy = plan.one("google_monitoring_alert_policy", "missed_run")
        (condition,) = policy["conditions"][0]["condition_prometheus_query_language"]
        assert "or vector(0)) < 1" in condition["query"]
        assert "[13h]" in condition["query"]
        assert condition["disable_metric_validation"]

    def test_the_scheduler_retries_before_an_alert(self, plan: Plan) -> None:
        """A run that fails once and then works alarms nobody; one whose retries fail too does."""
        attempts = plan.one("google_cloud_scheduler_job", "refresh")["retry_config"][0]["retry_count"] + 1
        for name in ("counted.failing-runs", "counted.scheduler"):
            policy = plan.one("google_monitoring_alert_policy", name)
            threshold = policy["conditions"][0]["condition_threshold"][0]["threshold_value"]
            assert 1 < threshold < attempts


class TestDashboard:
    def test_it_holds_nothing_that_google_leaves_out(self, plan: Plan) -> None:
        """Zeros and empty values are not given back, and would be a change in every plan."""

        def empty(value: Any) -> bool:
            if isinstance(value, dict):
                return not value or any(empty(item) for item in value.values())
            if isinstance(value, list):
                return not value or any(empty(item) for item in value)
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

    def test_an_organization_may_forbid_all_users(self, terraform: Terraform) -> None:
        """With no_invoker_check nobody is named as a caller of connect; `make deploy` switches the check off."""
        plan = terraform.planned(public_access="no_invoker_check")
        invokers = plan.all("google_cloud_run_v2_service_iam_member").values()
        assert [(binding["name"], binding["member"]) for binding in invokers] == [("tiktok-ads-refresh", SCHEDULER)]
        assert plan.outputs["public_access"] == "no_invoker_check"

    def test_an_organization_may_forbid_traffic_from_everywhere(self, plan: Plan, full_plan: Plan) -> None:
        """Both functions take what connect_ingress says: the policy is about both, and Scheduler counts as internal."""
        for made, expected in ((plan, "ALLOW_ALL"), (full_plan, "ALLOW_INTERNAL_AND_GCLB")):
            for function in made.all("google_cloudfunctions2_function").values():
                assert function["service_config"][0]["ingress_settings"] == expected

    def test_ids_of_deleted_roles_can_be_avoided(self, full_plan: Plan) -> None:
        """Google keeps the ids of deleted roles for 37 days; a suffix makes others."""
        roles = full_plan.all("google_project_iam_custom_role").values()
        assert {role["role_id"] for role in roles} == {f"tiktok_ads_tokens_{name}_2" for name in local("roles")}

    def test_scopes_of_accounts_reach_connect(self, plan: Plan, full_plan: Plan) -> None:
        """Unset, the code's own default holds; both redirect addresses are said."""
        connect = ("google_cloudfunctions2_function", "connect")
        told = [made.one(*connect)["service_config"][0]["environment_variables"] for made in (plan, full_plan)]
        assert "TIKTOK_ACCOUNT_SCOPES" not in told[0]
        assert told[1]["TIKTOK_ACCOUNT_SCOPES"] == "user.info.basic,video.list"
        for address in (plan.outputs["public_url"], plan.outputs["account_redirect_url"]):
            assert f"{address}\n" in plan.outputs["next_steps"]
        assert plan.outputs["account_redirect_url"] == plan.outputs["public_url"] + "/"

    def test_labels_are_on_everything(self) -> None:
        """Labels are the provider's defaults, so that nothing is forgotten."""
        for name in ("google", "google-beta"):
            (provider,) = [block[name] for block in files()["versions.tf"]["provider"] if name in block]
            assert provider["default_labels"] == "${local.labels}"

    def test_two_installations_fit_into_one_project(self, terraform: Terraform, plan: Plan) -> None:
        """With other names, nothing of one has the name of anything of the other."""
        other = terraform.planned(name="second", secret_prefix="second")
        for kind, key in {
            "google_cloudfunctions2_function": "name",
            "google_logging_metric": "name",
            "google_logging_project_exclusion": "name",
            "google_monitoring_alert_policy": "display_name",
            "google_project_iam_custom_role": "role_id",
            "google_secret_manager_secret": "secret_id",
            "google_service_account": "account_id",
            "google_storage_bucket": "name",
        }.items():
            names = [{values[key] for values in made.all(kind).values()} for made in (plan, other)]
            assert not names[0] & names[1], kind
