"""The pages for platforms that are not here: what can be run is run, the rest is checked against published schemas."""

import base64
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest
import requests

from emulators.serving import Answer, Fault, Request
from gcp.guide import complaints
from readers.internet import CONNECTION, Internet
from readers.recipe import finish, programs, recipe, run, served, start
from readers.tools import CAMPAIGNS, configured
from stage import TOKEN

pytestmark = pytest.mark.readers


def newest(internet: Internet) -> str:
    """What Cloud Run would provide now."""
    return internet.stage.secrets.payloads(TOKEN + CONNECTION)[-1].decode()


class TestCloudRun:
    PAGE = recipe("cloud-run")

    def test_a_cloud_run_function_with_a_file(self, internet: Internet, tmp_path: Path) -> None:
        """The same instance answers before and after a connection was made again."""
        file = tmp_path / "token.json"
        file.write_text(newest(internet))
        with served(self.PAGE, internet, tmp_path, "--target=campaigns", TOKEN_FILE=str(file)) as address:
            before = requests.get(address, timeout=60).json()
            assert sorted(before) == internet.stage.token()["advertiser_ids"]
            internet.rotate()
            file.write_text(newest(internet))
            assert requests.get(address, timeout=60).json() == before
        assert (internet.calls, internet.refused) == ([], [])

    @pytest.mark.parametrize("given", ["file", "variable"])
    def test_a_cloud_run_job_whose_token_is_replaced(self, internet: Internet, tmp_path: Path, given: str) -> None:
        """By its Procfile: it goes on with a file, and fails with a variable, which stays as it was."""
        file, tiktok = self.PAGE.write(tmp_path) / "token.json", internet.stage.tiktok
        file.write_text(newest(internet))
        tiktok.add_fault(Fault("campaign_get", skip=1, do="hold", hold="middle"))
        command = self.PAGE.files["Procfile"].partition(":")[2]
        variable = {"TOKEN_FILE": str(file)} if given == "file" else {"TIKTOK_TOKEN": newest(internet)}
        job = start(command, internet, tmp_path, "cloud-run", **variable)
        tiktok.wait_held("middle", 300)
        internet.rotate()
        file.write_text(newest(internet))
        tiktok.release("middle")
        done = finish(job, internet, "the job", check=False)
        if given == "file":
            assert sorted(json.loads(done.stdout)) == internet.stage.token()["advertiser_ids"]
        else:
            assert "TikTok refuses the newest token (code 40105): make status" in done.stderr
            assert done.returncode == 1

    def test_cloud_run_provides_the_token_where_the_program_looks(self) -> None:
        """The file of the function, and the variable of the job."""
        commands = [line for block in self.PAGE.commands for line in block.splitlines()]
        function, job, _ = (dict(word.partition("=")[::2] for word in shlex.split(command)) for command in commands)
        file = function["--set-env-vars"].removeprefix("TOKEN_FILE=")
        assert function["--set-secrets"] == f"{file}={TOKEN}{CONNECTION}:latest"
        assert job["--set-secrets"] == f"TIKTOK_TOKEN={TOKEN}{CONNECTION}:latest"


class TestEvents:
    def test_are_posted_and_start_a_job(self, internet: Internet, tmp_path: Path) -> None:
        """What needs a person is posted; a connection that works again starts its job, another one does not."""
        page, posted, started = recipe("events"), [], []
        (sample,) = (json.loads(text) for language, _, text in page.fenced() if language == "json")
        job = "projects/my-project-123/locations/europe-west1/jobs/tiktok-campaigns"

        def post(request: Request) -> Answer:
            posted.append(json.loads(request.body)["text"])
            return Answer()

        def begin(request: Request) -> Answer:
            started.append(request.headers["Authorization"].partition(" ")[0])
            return Answer(body={"name": "operations/1"})

        internet.sites.pages |= {"chat.example.com/hook": post, f"run.googleapis.com/v2/{job}:run": begin}
        variables = {"CHAT_WEBHOOK": "https://chat.example.com/hook", "CONNECTION": CONNECTION, "JOB": job}
        recovered = {"event": "connection.recovered", "message": "acme works again."}
        with served(page, internet, tmp_path, "--target=react --signature-type=cloudevent", **variables) as url:
            assert delivered(url, sample) == 200
            assert (posted, started) == ([f"ERROR reauthorization.required: {sample['jsonPayload']['message']}"], [])
            for name in ("acme", "beta"):
                assert delivered(url, {"severity": "NOTICE", "jsonPayload": {**recovered, "connection": name}}) == 200
            assert (posted[1:], started) == (2 * ["NOTICE connection.recovered: acme works again."], ["Bearer"])
            del internet.sites.pages[f"run.googleapis.com/v2/{job}:run"]
            assert delivered(url, {"severity": "NOTICE", "jsonPayload": {**recovered, "connection": "acme"}}) == 500
        assert internet.refused == []


def delivered(address: str, entry: dict[str, Any]) -> int:
    """Send an entry as Eventarc does; returns the status."""
    data = base64.b64encode(json.dumps(entry).encode()).decode()
    body = {"message": {"data": data, "messageId": "1", "attributes": {}}, "subscription": "projects/p/subscriptions/s"}
    headers = {"id": "1", "specversion": "1.0", "type": "google.cloud.pubsub.topic.v1.messagePublished"}
    headers |= {"source": "//pubsub.googleapis.com/projects/my-project-123/topics/tiktok-ads-events"}
    headers = {f"ce-{name}": value for name, value in headers.items()}
    return requests.post(address, json=body, headers=headers, timeout=60).status_code


class TestExternalSecrets:
    PAGE = recipe("external-secrets")
    READ = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"

    def test_external_secrets_has_fields_that_kubernetes_knows(self, internet: Internet, tmp_path: Path) -> None:
        """By its published schemas."""
        files = " ".join(self.PAGE.files)
        done = run(self.PAGE, internet, tmp_path, self.PAGE.name, script=f"kubernetes-validate --strict {files}")
        passed = re.findall(r"passed for resource (\S+)", done.stdout + done.stderr)
        assert passed == ["serviceaccount/tiktok-reader", "cronjob/tiktok-campaigns"]

    def test_external_secrets_has_objects_that_fit_together(self) -> None:
        """They copy the keeper's secret into that of the pod, which reads what is there under its names."""
        python, texts = str(programs(self.PAGE.name) / "python"), "\n---\n".join(self.PAGE.files.values())
        done = subprocess.run([python, "-c", self.READ], input=texts, capture_output=True, text=True, check=True)
        account, store, external, cron = objects = json.loads(done.stdout)
        assert {one["metadata"]["namespace"] for one in objects} == {"pipelines"}
        assert {store["apiVersion"], external["apiVersion"]} == {"external-secrets.io/v1"}
        login = store["spec"]["provider"]["gcpsm"]["auth"]["workloadIdentity"]
        assert login["serviceAccountRef"]["name"] == account["metadata"]["name"]
        spec = external["spec"]
        assert spec["secretStoreRef"] == {"name": store["metadata"]["name"], "kind": store["kind"]}
        keys, copied = ("access_token", "advertiser_ids"), spec["target"]["name"]
        wanted = [{"secretKey": key, "remoteRef": {"key": TOKEN + CONNECTION, "property": key}} for key in keys]
        assert spec["data"] == wanted
        pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert container["env"][0]["valueFrom"] == {"secretKeyRef": {"name": copied, "key": keys[0]}}
        assert volume == {"name": container["volumeMounts"][0]["name"], "secret": {"secretName": copied}}
        assert f"/subject/ns/pipelines/sa/{account['metadata']['name']}\n" in self.PAGE.commands[0]


PUBLISHED = {
    "google_secret_manager_secret_version": {"secret", "project", "version", "is_secret_data_base64"},
    "google_secret_manager_secret_version_access": {"secret", "project", "version", "is_secret_data_base64"},
    "airbyte_source": {"name", "workspace_id", "configuration", "definition_id", "secret_id", "resource_allocation"},
}


def blocks(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Type and body of what a configuration reads and makes."""
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)
    parsed = hcl2.loads(text, serialization_options=options)
    labelled = [block for kind in ("ephemeral", "data", "resource") for block in parsed.get(kind, [])]
    return [(name, body) for block in labelled for name, named in block.items() for body in named.values()]


class TestTerraform:
    def test_the_module_lists_campaigns(self, internet: Internet, tmp_path: Path) -> None:
        """Its script gets the token, which no state, plan or line has; a revoked one fails the apply."""
        if shutil.which("terraform") is None:
            pytest.skip("terraform is not installed")
        page, token = recipe("terraform"), internet.stage.token()
        folder = page.write(tmp_path) / "campaigns"
        given = {"TF_VAR_access_token": token["access_token"], "TF_VAR_advertiser_id": token["advertiser_ids"][0]}
        given |= {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": "/dev/null", "TF_CLI_ARGS": "-no-color"}
        script = f"{page.commands[0]}\nterraform plan -out=plan\nterraform fmt -check -recursive .."
        finish(start(script, internet, folder, **given), internet, "terraform")
        rows = json.loads((folder / "campaigns.json").read_text())
        assert sorted(row["campaign_name"] for row in rows) == CAMPAIGNS
        assert internet.holding(folder) == {}
        internet.stage.tiktok.revoke(token["access_token"])
        script = "terraform apply -auto-approve -replace=terraform_data.campaigns"
        done = finish(start(script, internet, folder, **given), internet, "terraform", check=False)
        assert done.returncode == 1
        assert "TikTok answers code 40105" in " ".join(done.stderr.replace("│", " ").split())

    def test_arguments_are_those_of_the_providers(self, internet: Internet, tmp_path: Path) -> None:
        """As google 7.45 and airbyte 1.2 publish them; Airbyte's settings are those that its connector is run with."""
        ours = recipe("airbyte").files["main.tf"]
        printed = configured(internet, "airbyte-terraform", tmp_path)
        texts = [
            *(text for name, text in recipe("terraform").files.items() if name != "campaigns/main.tf"),
            ours,
            printed,
        ]
        read = [(kind, argument) for text in texts for kind, body in blocks(text) for argument in body]
        assert [(kind, argument) for kind, argument in read if argument not in PUBLISHED[kind]] == []
        credentials = json.loads(configured(internet, "airbyte", tmp_path))["credentials"]
        for text, more in ((ours, {"advertiser_id"}), (printed, set())):
            source = dict(blocks(text))["airbyte_source"]
            assert set(re.findall(r"(\w+) = ", source["configuration"])) == {
                "credentials",
                "start_date",
                *credentials,
                *more,
            }


def test_gcloud_understands_every_command() -> None:
    """By gcloud's own parser."""
    pages = [recipe(name) for name in ("README", "cloud-run", "events", "external-secrets", "gcloud", "owox")]
    lines = [line for page in pages for block in page.commands for line in block.splitlines()]
    commands = [match[0].strip() for line in lines if (match := re.search(r"gcloud [^|)]+", line))]
    assert len(commands) == 10
    assert complaints(commands) == []
