"""What lets the CLI talk to an environment after its deployment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from controller.aws.secrets import SecretsManager
from controller.cli import contexts
from controller.cli.target import CONFIG_FILE
from controller.deploy.variables import BOOTSTRAP_FILE
from controller.errors import SetpointError

if TYPE_CHECKING:
    from pathlib import Path

    from controller.deploy.aws import Aws
    from controller.deploy.outputs import Deployment
    from controller.deploy.step import Say


def write(aws: Aws, deployment: Deployment, root: Path, folder: Path, say: Say) -> Path:
    """Write the context of an environment, readable for its owner alone, and return where it is."""
    path = folder / CONFIG_FILE
    authority = _authority(root)
    context = {
        "environment": deployment.environment,
        "url": deployment.api_url,
        "token": _token(aws, deployment, say),
        "authority": authority,
        "aws": {"region": deployment.region, "cluster": deployment.cluster, "prefix": deployment.name},
        # With an authority of its own the certificate names the internal address, whatever the public one is.
        "serverName": deployment.api_server_name if authority else None,
    }
    given = {name: value for name, value in context.items() if value}
    contexts.put(path, deployment.environment, given, choose=False)
    return path


def _token(aws: Aws, deployment: Deployment, say: Say) -> str | None:
    try:
        values = SecretsManager(aws.secrets).values(deployment.secrets.admin_token)
    except SetpointError as error:
        say(
            f"your role cannot read {deployment.secrets.admin_token} ({error}); set SETPOINT_TOKEN to a token of your own"
        )
        return None
    return values[0] if values else None


def _authority(root: Path) -> str | None:
    path = root / BOOTSTRAP_FILE
    return json.loads(path.read_text(encoding="utf-8")).get("api_ca_pem") if path.is_file() else None
