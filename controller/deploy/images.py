"""The images of a deployment, each by its digest: given, found by a tag, or built and pushed."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from controller.aws.errors import calling, error_code
from controller.deploy.step import Refused, StepFailed
from controller.deploy.terraform import stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

    from controller.deploy.step import Say

_BY_DIGEST = re.compile(r"^(?P<repository>[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})$")
_ECR = re.compile(r"^(?P<account>[0-9]{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/(?P<name>.+)$")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_ABSENT = frozenset({"ImageNotFoundException", "RepositoryNotFoundException"})
_ENGINES = ("docker", "podman", "nerdctl")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images a person asks for."""

    given: Mapping[str, str] = field(default_factory=dict)
    """Some or all keys, each with `repository@sha256:…`."""
    tag: str = ""
    """The others by this tag."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """What the others are when there is no tag: those of an earlier deployment."""


@dataclass(slots=True)
class ChooseImages:
    """Find every image's digest, once; after it nothing asks for a tag again."""

    ecr: ECRClient
    repositories: Mapping[str, str]
    wanted: Wanted
    previous: Mapping[str, str]
    """What ran before, to say what changes."""
    sources: Path | None = None
    """The folder to build from what ECR does not have; None: nothing is built."""
    found: dict[str, str] = field(default_factory=dict)
    name: str = field(default="images", init=False)

    def plan(self) -> list[str]:
        """Return the images that differ from those that run."""
        if self.sources is not None:
            missing = [k for k, url in self.repositories.items() if _tagged(self.ecr, url, self.wanted.tag) is None]
            if missing:
                return [f"+ {key} is built and pushed as {self.wanted.tag}" for key in sorted(missing)]
        self.found = resolve(self.ecr, self.repositories, self.wanted)
        return [f"~ {key} is {_short(image)}" for key, image in self.found.items() if self.previous.get(key) != image]

    def apply(self, say: Say) -> None:
        """Build what is missing if that is asked for; raise StepFailed for an image that there is not."""
        if self.sources is not None:
            build(self.ecr, self.repositories, self.wanted.tag, self.sources, say)
        self.found = resolve(self.ecr, self.repositories, self.wanted)
        for key, image in self.found.items():
            say(f"{key} is {_short(image)}")


def resolve(ecr: ECRClient, repositories: Mapping[str, str], wanted: Wanted) -> dict[str, str]:
    """Return `repository@sha256:…` for each repository; raise StepFailed naming every image that there is not."""
    unknown = sorted(set(wanted.given) - set(repositories))
    if unknown:
        raise Refused(f"no repository is called {', '.join(unknown)}; there are {', '.join(sorted(repositories))}")
    if wanted.tag and not _TAG.match(wanted.tag):
        raise Refused(f"{wanted.tag!r} is no image tag")
    found, missing = {}, []
    for key, repository in sorted(repositories.items()):
        image = wanted.given.get(key) or ("" if wanted.tag else wanted.kept.get(key, ""))
        digest = _given(ecr, key, image) if image else _tagged(ecr, repository, wanted.tag)
        if digest is None:
            asked = image or f"{repository}:{wanted.tag or '(no git commit to look for)'}"
            missing.append(f"{key}: {asked}")
        else:
            found[key] = image or f"{repository}@{digest}"
    if missing:
        raise StepFailed(
            "these images are not in ECR; push them, or let --build do it, or choose others by --tag or --image",
            *missing,
        )
    return found


def build(ecr: ECRClient, repositories: Mapping[str, str], tag: str, folder: Path, say: Say) -> None:
    """Build and push each image that has no such tag yet, by the engine's own program; raise StepFailed."""
    missing = {key: url for key, url in sorted(repositories.items()) if _tagged(ecr, url, tag) is None}
    if not missing:
        say(f"every image is there as {tag}")
        return
    engine = next((path for name in _ENGINES if (path := shutil.which(name))), None)
    if engine is None:
        raise Refused(
            f"--build needs one of {', '.join(_ENGINES)}; without it push the images elsewhere and give --tag"
        )
    if not (folder / "Dockerfile").is_file():
        raise Refused(f"there is no Dockerfile in {folder.resolve()}; run this in the project's folder")
    _log_in(ecr, engine, next(iter(missing.values())))
    for key, url in missing.items():
        image = f"{url}:{tag}"
        say(f"{key}: builds {image}")
        stream([engine, "build", "--platform", "linux/amd64", "--target", key, "--tag", image, str(folder)], say)
        stream([engine, "push", image], say)


def _short(image: str) -> str:
    return image.rpartition("/")[2]


def _given(ecr: ECRClient, key: str, image: str) -> str | None:
    parts = _BY_DIGEST.match(image)
    if parts is None:
        raise Refused(f"--image {key}={image}: give it as repository@sha256:…, which never changes its meaning")
    if _ECR.match(parts["repository"]) is None:
        # Another registry is asked by ECS alone, when the canary starts.
        return parts["digest"]
    return _look_up(ecr, parts["repository"], {"imageDigest": parts["digest"]})


def _tagged(ecr: ECRClient, repository: str, tag: str) -> str | None:
    return _look_up(ecr, repository, {"imageTag": tag}) if tag else None


def _look_up(ecr: ECRClient, repository: str, image: ImageIdentifierTypeDef) -> str | None:
    place = _ECR.match(repository)
    if place is None:
        raise StepFailed(f"{repository} is no repository of ECR")
    with calling("ecr", "DescribeImages"):
        try:
            answer = ecr.describe_images(registryId=place["account"], repositoryName=place["name"], imageIds=[image])
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return None
            raise
    return answer["imageDetails"][0].get("imageDigest") if answer["imageDetails"] else None


def _log_in(ecr: ECRClient, engine: str, url: str) -> None:
    with calling("ecr", "GetAuthorizationToken"):
        token = ecr.get_authorization_token()["authorizationData"][0].get("authorizationToken", "")
    user, _, password = base64.b64decode(token).decode().partition(":")
    command: Sequence[str] = [engine, "login", "--username", user, "--password-stdin", url.partition("/")[0]]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed("the engine cannot log in to ECR", *done.stderr.splitlines()[-5:])
