"""What `infra/gcp` may and may not allow, over the configuration as Terraform evaluates it, and as it is written.

The numbers in brackets are lines of the security checklist that `tests/README.md` tables.
"""

import ast
import json
import re
from collections.abc import Iterator

from gcp.configuration import INFRA, NUMBER, ROOT, Plan, Terraform, local, resources
from gcp.stub_provider import key_of
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


def grants(plan: Plan) -> Iterator[tuple[str, list[str], str]]:
    """Who may do what to which secrets, as member, permissions, and a regular expression over full secret names."""
    made = plan.all("google_project_iam_custom_role").values()
    roles = {role["name"]: role["permissions"] for role in made}
    roles["roles/secretmanager.secretAccessor"] = ["secretmanager.versions.access"]
    for binding in plan.all("google_project_iam_member").values():
        (condition,) = binding["condition"] or [{"expression": 'startsWith("")'}]
        for prefix in re.findall(r'startsWith\("([^"]*)"\)', condition["expression"]):
            yield binding["member"], roles.get(binding["role"], []), re.escape(prefix) + ".*"
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
        assert plan.all("google_secret_manager_secret")["this.keeper"]["secret_id"] == KEEPER

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
        """Nobody is owner, editor or administrator; no custom role sets policies; others keep their rights."""
        accounts = {account["member"] for account in plan.all("google_service_account").values()}
        assert accounts == {CONNECT, REFRESH, SCHEDULER, BUILD}
        # Without readers, nobody but the two functions has access to any value.
        assert {who for who, what, _ in grants(plan) if "secretmanager.versions.access" in what} == {CONNECT, REFRESH}
        given = {found["values"]["role"] for found in full_plan.resources if found["type"].endswith("_iam_member")}
        assert {role.removeprefix("roles/") for role in given if not role.startswith("projects/")} == {
            *("artifactregistry.writer", "logging.logWriter", "storage.objectViewer"),  # to build
            *("cloudkms.cryptoKeyEncrypterDecrypter", "pubsub.publisher"),  # Google's own accounts
            *("run.invoker", "secretmanager.secretAccessor"),
        }
        roles = full_plan.all("google_project_iam_custom_role").values()
        permissions = {permission for role in roles for permission in role["permissions"]}
        assert not [name for name in permissions if not re.fullmatch(r"secretmanager\.(?!.*Policy)[\w.]+", name)]
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
        bindings = full_plan.all("google_project_iam_member").values()
        expressions = [condition["expression"] for binding in bindings for condition in binding["condition"]]
        assert len(expressions) > 3
        for expression in expressions:
            assert expression.count("||") <= 12
            assert set(re.findall(r'startsWith\("projects/([^/]+)/', expression)) in ({NUMBER}, {"_"})


class TestSecrets:
    def test_there_is_no_value_anywhere(self, full_plan: Plan) -> None:
        """Terraform makes containers only: no version, no variable, output or default that could hold a value."""
        kinds = {kind for where in ("resource", "data") for kind, _, _ in resources(where)}
        assert not [kind for kind in kinds if kind.startswith(("random_", "tls_")) or "secret_version" in kind]
        text = "".join(file.read_text() for file in INFRA.glob("*.tf"))
        assert not re.findall(r"secret_data|sensitive\s*=", text)
        assert not re.findall(r"[\"'][0-9a-f]{32,}[\"']|-----BEGIN|AIza[0-9A-Za-z_-]{30}", text)
        assert not [name for name in full_plan.outputs if re.search("value|password", name)]


class TestFunctions:
    def test_are_built_and_run_as_themselves(self, plan: Plan, full_plan: Plan) -> None:
        """One source and an entry point each; own accounts; credentials by reference, in the order of their names."""
        secrets = {"LINK_SIGNING_KEYS": KEYS, "TIKTOK_APP_SECRET": APP_SECRET}
        tree = ast.parse((ROOT / "functions" / "main.py").read_text())
        for name, account in {"connect": CONNECT, "refresh": REFRESH}.items():
            function, service = plan.all(FUNCTION)[name], plan.service(name)
            (build,) = function["build_config"]
            assert f"serviceAccount:{service['service_account_email']}" == account
            assert build["service_account"].endswith(BUILD.partition(":")[2])
            assert (build["entry_point"], build["runtime"]) == (name, "python313")
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            needed = list(secrets.items()) if name == "connect" else [("TIKTOK_APP_SECRET", APP_SECRET)]
            assert [(entry["key"], entry["secret"]) for entry in service["secret_environment_variables"]] == needed
            assert not service["environment_variables"].keys() & secrets.keys()
            # Cloud Functions would switch execution ids on, and they mix up lines.
            assert service["environment_variables"]["LOG_EXECUTION_ID"] == "false"
            # An organization's policy on ingress is about both, and Scheduler counts as internal.
            ingress = [made.service(name)["ingress_settings"] for made in (plan, full_plan)]
            assert ingress == ["ALLOW_ALL", "ALLOW_INTERNAL_AND_GCLB"]

    def test_the_build_names_its_source(self, terraform: Terraform, plan: Plan) -> None:
        """Both functions are built with the source's hash, which `make doctor` works out alike, and so does a shell."""
        expected = source_hash(terraform.directory.parents[1] / "functions")
        assert plan.outputs["source_hash"] == expected
        for function in plan.all(FUNCTION).values():
            assert function["build_config"][0]["environment_variables"] == {"SOURCE_HASH": expected}
        assert plan.all("google_storage_bucket_object")["source"]["name"] == f"functions-{expected}.zip"

    def test_updates_and_replacements_are_whole(self) -> None:
        """The source is sent with its own generation; the callers of a replaced function are granted again."""
        bodies = {(kind, name): body for kind, name, body in resources()}
        for member, name in {"public": "connect", "scheduler": "refresh"}.items():
            (storage,) = bodies[FUNCTION, name]["build_config"][0]["source"][0]["storage_source"]
            assert storage["generation"] == "${google_storage_bucket_object.source.generation}"
            (rule,) = bodies["google_cloud_run_v2_service_iam_member", member]["lifecycle"]
            assert rule["replace_triggered_by"] == [f"${{{FUNCTION}.{name}.id}}"]

    def test_images_do_not_pile_up(self, plan: Plan) -> None:
        """Both functions' images go to a repository that keeps two; the build may write to it and to no other."""
        repository = plan.all("google_artifact_registry_repository")["images"]
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
        url = plan.outputs["public_url"]
        assert len(url) == 100
        assert plan.service("connect")["environment_variables"]["PUBLIC_URL"] == url
        # Both redirect addresses are said; the one of TikTok accounts has a slash.
        assert plan.outputs["account_redirect_url"] == f"{url}/"
        assert f"{url}\n" in plan.outputs["next_steps"]
        assert f"{url}/\n" in plan.outputs["next_steps"]
        assert "longer than 100 characters" in terraform.refusal(**longest, name="n" * 20)


class TestDeadlines:
    def test_agree(self, plan: Plan, other_plan: Plan) -> None:
        """Budget and 120 s for storing fit into the function's timeout, and that into the Scheduler's deadline.

        The timeout of connect leaves a callback its whole budget, and an instance time to start.
        """
        for budget, made in {1500: plan, 60: other_plan}.items():
            service = made.service("refresh")
            deadline = int(made.all("google_cloud_scheduler_job")["refresh"]["attempt_deadline"].removesuffix("s"))
            assert service["environment_variables"]["RUN_BUDGET_SECONDS"] == str(budget)
            assert budget + 120 < service["timeout_seconds"] < deadline <= 1800
        service = plan.service("connect")
        assert int(service["environment_variables"]["CALLBACK_BUDGET_SECONDS"]) + 10 <= service["timeout_seconds"]

    def test_the_scheduler_calls_as_itself_and_is_over_before_the_next_run(self, plan: Plan) -> None:
        """Its token is for refresh's own address; all attempts and pauses at their longest fit into six hours."""
        job = plan.all("google_cloud_scheduler_job")["refresh"]
        (retry,), (target,) = job["retry_config"], job["http_target"]
        (token,) = target["oidc_token"]
        assert target["uri"] == token["audience"] == plan.service("refresh")["uri"]
        assert f"serviceAccount:{token['service_account_email']}" == SCHEDULER
        attempts = (retry["retry_count"] + 1) * int(job["attempt_deadline"].removesuffix("s"))
        pauses = retry["retry_count"] * int(retry["max_backoff_duration"].removesuffix("s"))
        assert pauses + attempts < 6 * 3600
        assert job["schedule"] == "17 */6 * * *"


class TestLogs:
    def test_addresses_with_codes_are_not_kept(self, plan: Plan) -> None:
        """The request log keeps nothing of connect that has a query, not even of the first callback [57]."""
        exclusion = plan.all("google_logging_project_exclusion")["addresses_with_codes"]
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

    def test_every_metric_and_label_exists(self, plan: Plan) -> None:
        """Alerts and charts look at metrics that are made here, or one of Cloud Run's, and at labels that they have."""
        metrics = {f"logging.googleapis.com/user/{m['name']}": m for m in plan.all("google_logging_metric").values()}
        policies = plan.all("google_monitoring_alert_policy")
        text = json.dumps(policies) + json.dumps(plan.all("google_monitoring_dashboard")["this"]["dashboard_json"])
        named = set(re.findall(r'metric\.type=\\+"([^"\\]+)\\+"', text))
        assert named - metrics.keys() == {"run.googleapis.com/request_count"}
        assert metrics.keys() <= named | {"logging.googleapis.com/user/tiktok-ads-runs"}
        for name, policy in policies.items():
            for threshold in policy["conditions"][0]["condition_threshold"]:
                metric = re.findall(r'metric\.type="([^"]+)"', threshold["filter"])[0]
                labels = set(metrics.get(metric, {}).get("label_extractors") or {"response_code_class": ""})
                assert set(re.findall(r"metric\.label\.(\w+)", json.dumps(policy))) <= labels, name

    def test_a_missed_run_is_noticed_and_a_retried_one_alarms_nobody(self, plan: Plan) -> None:
        """The query counts nothing as zero, and no limited run; thresholds lie above one failed attempt."""
        policy = plan.all("google_monitoring_alert_policy")["missed_run"]
        (condition,) = policy["conditions"][0]["condition_prometheus_query_language"]
        assert "increase(logging_googleapis_com:user_tiktok_ads_runs{" in condition["query"]
        assert "or vector(0)) < 1" in condition["query"]
        assert "[13h]" in condition["query"]
        assert condition["disable_metric_validation"]
        assert "NOT jsonPayload.limited=true" in plan.all("google_logging_metric")["counter.runs"]["filter"]
        attempts = plan.all("google_cloud_scheduler_job")["refresh"]["retry_config"][0]["retry_count"] + 1
        for name in ("counted.failing-runs", "counted.scheduler"):
            policy = plan.all("google_monitoring_alert_policy")[name]
            assert 1 < policy["conditions"][0]["condition_threshold"][0]["threshold_value"] < attempts

    def test_the_dashboard_holds_nothing_that_google_leaves_out(self, plan: Plan) -> None:
        """Zeros and empty values are not given back, and would be a change in every plan."""
        text = json.dumps(json.loads(plan.all("google_monitoring_dashboard")["this"]["dashboard_json"]))
        assert not re.search(r'[\[:,] ?(0|""|null|false|\[\]|\{\})[,\]}]', text)


class TestOptions:
    def test_events_go_out(self, full_plan: Plan, plan: Plan) -> None:
        """With the option there is a topic that hears of every event from NOTICE on, and its sink may publish to it."""
        assert not plan.all("google_pubsub_topic")
        sink = full_plan.all("google_logging_project_sink")["events.0"]
        assert sink["destination"] == f"pubsub.googleapis.com/projects/{PROJECT}/topics/tiktok-ads-events"
        assert 'service_name=("tiktok-ads-connect" OR "tiktok-ads-refresh") AND jsonPayload.event:*' in sink["filter"]
        assert sink["filter"].endswith('(severity>=NOTICE OR jsonPayload.event="token.refreshed")')
        (publisher,) = full_plan.all("google_pubsub_topic_iam_member").values()
        assert (publisher["topic"], publisher["member"]) == ("tiktok-ads-events", sink["writer_identity"])
        assert sink["unique_writer_identity"]

    def test_choices_reach_what_they_are_about(self, plan: Plan, full_plan: Plan) -> None:
        """Where secrets are kept, and by which key; ids of roles, which Google keeps for long; scopes of accounts."""
        assert plan.all("google_secret_manager_secret")["this.app-secret"]["replication"][0]["auto"]
        for secret in full_plan.all("google_secret_manager_secret").values():
            (replica,) = secret["replication"][0]["user_managed"][0]["replicas"]
            assert replica["location"] == "europe-west1"
            assert replica["customer_managed_encryption"][0]["kms_key_name"].endswith("cryptoKeys/k")
        roles = full_plan.all("google_project_iam_custom_role").values()
        assert {role["role_id"] for role in roles} == {f"tiktok_ads_tokens_{name}_2" for name in local("roles")}
        default, chosen = (made.service("connect")["environment_variables"] for made in (plan, full_plan))
        assert "TIKTOK_ACCOUNT_SCOPES" not in default
        assert chosen["TIKTOK_ACCOUNT_SCOPES"] == "user.info.basic,video.list"

    def test_two_installations_fit_into_one_project(self, plan: Plan, other_plan: Plan) -> None:
        """With other names, nothing of one is anything of the other's but what is the whole project's."""
        made, other = ({key_of(each["type"], each["values"]) for each in one.resources} for one in (plan, other_plan))
        alike = {key.partition(" ")[0] for key in made & other} - {"archive_file", "google_project"}
        # Whose names are not theirs alone: an object is in a bucket, a dashboard has a title inside.
        shared = {"google_project_service", "google_storage_bucket_object", "google_monitoring_dashboard"}
        assert alike == shared
        titles = [one.all("google_monitoring_dashboard")["this"]["dashboard_json"] for one in (plan, other_plan)]
        assert len({json.loads(title)["displayName"] for title in titles}) == 2
