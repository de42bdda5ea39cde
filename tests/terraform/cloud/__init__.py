"""An AWS on this machine and the real Terraform binary, for tests that apply what `terraform/` says."""

from tests.terraform.cloud.local_cloud import Backend, LocalCloud
from tests.terraform.cloud.terraform import Terraform, TerraformFailed, missing, offline

__all__ = ["Backend", "LocalCloud", "Terraform", "TerraformFailed", "missing", "offline"]
