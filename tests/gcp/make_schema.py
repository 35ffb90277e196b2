"""Makes `schema.json`: what the Terraform provider takes and gives, for the resources that `infra/gcp` uses.

Terraform's own way to a schema needs the provider, and so the registry. The packages `pulumi-gcp` and `pulumi-archive`
are generated from the same providers, with a typed class for every block, which can be read without running them. Only
what the first and the last release of a major version have in common gets in, so that any release between them will do.

    python3 tests/gcp/make_schema.py            # downloads the packages into a temporary directory

Three things are lost on the way and are put back here, after the provider's documentation: which names are singular
(`PLURAL`), which arguments are required although Pulumi makes them up (`REQUIRED`), and which resources are in
google-beta only (`BETA`). Whether a single attribute is in google-beta alone is not in the packages.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = {"gcp": ("pulumi-gcp==9.0.0", "pulumi-gcp==9.37.1"), "archive": ("pulumi-archive==0.5.3",)}

# Terraform's resource: module and class.
RESOURCES = {
    "google_cloud_run_v2_service_iam_member": "pulumi_gcp/cloudrunv2/service_iam_member.py:ServiceIamMember",
    "google_cloud_scheduler_job": "pulumi_gcp/cloudscheduler/job.py:Job",
    "google_cloudfunctions2_function": "pulumi_gcp/cloudfunctionsv2/function.py:Function",
    "google_kms_crypto_key_iam_member": "pulumi_gcp/kms/crypto_key_iam_member.py:CryptoKeyIAMMember",
    "google_logging_metric": "pulumi_gcp/logging/metric.py:Metric",
    "google_logging_project_exclusion": "pulumi_gcp/logging/project_exclusion.py:ProjectExclusion",
    "google_monitoring_alert_policy": "pulumi_gcp/monitoring/alert_policy.py:AlertPolicy",
    "google_monitoring_dashboard": "pulumi_gcp/monitoring/dashboard.py:Dashboard",
    "google_monitoring_notification_channel": "pulumi_gcp/monitoring/notification_channel.py:NotificationChannel",
    "google_project_iam_audit_config": "pulumi_gcp/projects/iam_audit_config.py:IAMAuditConfig",
    "google_project_iam_custom_role": "pulumi_gcp/projects/iam_custom_role.py:IAMCustomRole",
    "google_project_iam_member": "pulumi_gcp/projects/iam_member.py:IAMMember",
    "google_project_service": "pulumi_gcp/projects/service.py:Service",
    "google_project_service_identity": "pulumi_gcp/projects/service_identity.py:ServiceIdentity",
    "google_pubsub_topic": "pulumi_gcp/pubsub/topic.py:Topic",
    "google_pubsub_topic_iam_member": "pulumi_gcp/pubsub/topic_iam_member.py:TopicIAMMember",
    "google_secret_manager_secret": "pulumi_gcp/secretmanager/secret.py:Secret",
    "google_secret_manager_secret_iam_member": "pulumi_gcp/secretmanager/secret_iam_member.py:SecretIamMember",
    "google_service_account": "pulumi_gcp/serviceaccount/account.py:Account",
    "google_storage_bucket": "pulumi_gcp/storage/bucket.py:Bucket",
    "google_storage_bucket_object": "pulumi_gcp/storage/bucket_object.py:BucketObject",
}
DATA = {
    "archive_file": "pulumi_archive/get_file.py:get_file",
    "google_project": "pulumi_gcp/organizations/get_project.py:get_project",
}
# Pulumi's name for a list: the name of Terraform's block. Every other list has the same name in both.
PLURAL = {
    "archive_file": {"sources": "source"},
    "google_project_iam_audit_config": {"audit_log_configs": "audit_log_config"},
    "google_storage_bucket": {"lifecycle_rules": "lifecycle_rule"},
}
REQUIRED = {
    "archive_file": ("output_path", "type"),
    "google_cloud_run_v2_service_iam_member": ("name",),
    "google_cloud_scheduler_job": ("name",),
    "google_cloudfunctions2_function": ("name",),
    "google_logging_metric": ("name",),
    "google_logging_project_exclusion": ("name",),
    "google_project_iam_custom_role": ("role_id",),
    "google_pubsub_topic": ("name",),
    "google_secret_manager_secret": ("secret_id",),
    "google_service_account": ("account_id",),
    "google_storage_bucket": ("name",),
    "google_storage_bucket_object": ("name",),
}
BETA = ["google_project_service_identity"]

Block = dict[str, Any]
_QUOTED = re.compile(r"'(\w+Args)'")


class Package:
    """The modules of one unpacked package."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, ast.Module] = {}

    def resource(self, where: str, renamed: dict[str, str]) -> Block:
        """Arguments and computed attributes of a resource, with its blocks."""
        module, name = where.split(":")
        block = self._arguments(module, f"{name}Args", renamed)
        for given, (_, kind) in self._signature(module, f"_{name}State", "__init__").items():
            own = renamed.get(given, given)
            if own not in block["attributes"] and own not in block["blocks"]:
                block["attributes"][own] = f"{_type(kind)} computed"
        block["attributes"]["id"] = "string computed"
        return block

    def data(self, where: str, renamed: dict[str, str]) -> Block:
        """Arguments and computed attributes of a data source."""
        module, name = where.split(":")
        block = self._block(module, self._signature(module, None, name), renamed)
        result = f"Get{name.removeprefix('get_').title().replace('_', '')}Result"
        for node in ast.walk(self._class(module, result)):
            if isinstance(node, ast.FunctionDef) and node.decorator_list and node.returns:
                own = renamed.get(node.name, node.name)
                if own not in block["attributes"] and own not in block["blocks"]:
                    block["attributes"][own] = f"{_type(ast.unparse(node.returns))} computed"
        return block

    def _arguments(self, module: str, name: str, renamed: dict[str, str]) -> Block:
        return self._block(module, self._signature(module, name, "__init__"), renamed)

    def _block(self, module: str, signature: dict[str, tuple[bool, str]], renamed: dict[str, str]) -> Block:
        block: Block = {"attributes": {}, "blocks": {}}
        for given, (required, kind) in signature.items():
            own = renamed.get(given, given)
            nested = _QUOTED.search(kind)
            if nested:
                inner = self._arguments(str(Path(module).parent / "_inputs.py"), nested[1], {})
                block["blocks"][own] = {"required": required, "many": "Sequence[" in kind, **inner}
            else:
                block["attributes"][own] = f"{_type(kind)} required" if required else _type(kind)
        return block

    def _signature(self, module: str, owner: str | None, name: str) -> dict[str, tuple[bool, str]]:
        """Parameters of a function, and whether each is required."""
        body: list[ast.stmt] = self._class(module, owner).body if owner else self._module(module).body
        function = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == name)
        found = {
            parameter.arg: (default is None, ast.unparse(parameter.annotation) if parameter.annotation else "")
            for parameter, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        }
        if not owner:
            found = {
                parameter.arg: (False, ast.unparse(parameter.annotation) if parameter.annotation else "")
                for parameter in function.args.args
            }
            # A parameter of a data source that is required has no Optional around its type.
            found = {key: ("Optional[" not in kind, kind) for key, (_, kind) in found.items() if key != "opts"}
        return found

    def _class(self, module: str, name: str) -> ast.ClassDef:
        return next(node for node in self._module(module).body if isinstance(node, ast.ClassDef) and node.name == name)

    def _module(self, name: str) -> ast.Module:
        if name not in self._modules:
            self._modules[name] = ast.parse((self._root / name).read_text())
        return self._modules[name]


def _type(kind: str) -> str:
    if "Mapping[" in kind:
        return "map"
    if "Sequence[" in kind:
        return "list"
    return next((own for theirs, own in _SCALARS.items() if f"builtins.{theirs}" in kind), "string")


_SCALARS = {"bool": "bool", "int": "number", "float": "number"}


def in_common(one: Block, other: Block) -> Block:
    """What both have; required where either says so."""
    block: Block = {key: value for key, value in one.items() if key not in {"attributes", "blocks"}}
    if one.get("required") or other.get("required"):
        block["required"] = True
    block["attributes"] = {
        name: max(one["attributes"][name], other["attributes"][name], key=lambda kind: kind.endswith(" required"))
        for name in sorted(one["attributes"].keys() & other["attributes"].keys())
    }
    block["blocks"] = {
        name: in_common(one["blocks"][name], other["blocks"][name])
        for name in sorted(one["blocks"].keys() & other["blocks"].keys())
    }
    return block


def download(requirement: str, into: Path) -> Package:
    """Fetch one package, without what it depends on, and unpack it."""
    into.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", str(into)]
    subprocess.run([*command, requirement], check=True)
    with zipfile.ZipFile(next(into.glob("*.whl"))) as wheel:
        wheel.extractall(into)
    return Package(into)


def schema(directory: Path) -> dict[str, Any]:
    """The whole schema, from packages that are downloaded into `directory`."""
    first, last = (download(requirement, directory / requirement) for requirement in PACKAGES["gcp"])
    archive = download(PACKAGES["archive"][0], directory / "archive")
    resources = {}
    for name, where in RESOURCES.items():
        renamed = PLURAL.get(name, {})
        resources[name] = in_common(last.resource(where, renamed), first.resource(where, renamed))
    data = {}
    for name, where in DATA.items():
        package = archive if name.startswith("archive_") else last
        found = package.data(where, PLURAL.get(name, {}))
        data[name] = in_common(found, found)
    for name, block in (resources | data).items():
        block["attributes"] |= dict.fromkeys(REQUIRED.get(name, ()), "string required")
    return {
        "made_from": [*PACKAGES["gcp"], *PACKAGES["archive"]],
        "only_in_beta": BETA,
        "resources": resources,
        "data": data,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = schema(Path(temporary))
    (HERE / "schema.json").write_text(json.dumps(made, indent=1) + "\n")
    print(f"{HERE / 'schema.json'}: {len(made['resources'])} resources, {len(made['data'])} data sources")
