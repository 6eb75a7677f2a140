"""Lists of tags in the schemes of images that people use, and what some rules choose out of them."""

from __future__ import annotations

from typing import Any, NamedTuple

_SIGNATURE = f"sha256-{'0a' * 32}"

NGINX = f"""
1 1-alpine 1-alpine-slim 1.26 1.26.1 1.26.1-alpine 1.26.2 1.26.2-alpine 1.26.2-alpine-slim 1.27 1.27-alpine 1.27.0
1.27.0-alpine 1.27.1 1.27.1-alpine 1.27.1-alpine3.20 1.27.1-bookworm 1.27.2 1.27.2-alpine 1.27.2-alpine-slim
1.27.2-alpine3.20 1.27.2-bookworm-perl alpine latest mainline mainline-alpine stable stable-alpine
{_SIGNATURE}.sig {_SIGNATURE}.att {_SIGNATURE}
"""
PYTHON = """
2.7 2.7.18 3 3-slim 3.12 3.12-slim 3.12.6 3.12.6-slim 3.12.7 3.12.7-alpine3.20 3.12.7-slim 3.12.7-slim-bookworm 3.13
3.13-rc 3.13-slim 3.13.0 3.13.0-slim 3.13.0rc3 3.13.0rc3-slim 3.14-rc 3.14-rc-slim 3.14.0a1 3.14.0a1-slim latest
rc-slim slim slim-bookworm windowsservercore-ltsc2022
"""
GOLANG = """
1 1-alpine 1.22 1.22-alpine 1.22.7 1.22.7-alpine 1.22.8 1.22.8-alpine 1.22.8-alpine3.20 1.23 1.23-alpine 1.23.0
1.23.0-alpine 1.23.1 1.23.1-alpine 1.23.2 1.23.2-alpine 1.23.2-bookworm 1.23rc1 1.23rc2 1.23rc2-alpine 1.24rc1 tip
alpine latest nanoserver-1809
"""
UBUNTU = """
18.04 20.04 22.04 24.04 24.10 25.04 bionic bionic-20230530 focal focal-20241011 jammy jammy-20240911.1 latest noble
noble-20241009 oracular oracular-20241009 rolling devel
"""
ALPINE = """
2.7 3 3.18 3.18.9 3.19 3.19.3 3.19.4 3.20 3.20.0 3.20.2 3.20.3 20240329 20240606 20240923 edge latest 3.21.0_rc1
"""
POSTGRES = """
9.6 9.6.23 9.6.24 9.6.24-alpine 15 15-alpine 15.7 15.8 15.8-alpine 15.8-alpine3.20 16 16-alpine 16-bookworm 16.3 16.4
16.4-alpine 16.4-alpine3.20 16.4-bookworm 17 17-alpine 17.0 17.0-alpine 17beta3 17beta3-alpine 17rc1 17rc1-alpine
alpine bookworm latest
"""
REDIS = """
6 6.2 6.2.14 6.2.16 7 7-alpine 7.2 7.2.5 7.2.6 7.2.6-alpine 7.4 7.4-alpine 7.4-rc 7.4-rc2 7.4.0 7.4.0-alpine
7.4.0-alpine3.20 7.4.1 7.4.1-alpine 7.4.1-bookworm 8.0-M01 alpine bookworm latest
"""
GRAFANA = """
10.4.10 10.4.10-ubuntu 11.2.0 11.2.0-security-01 11.2.0-ubuntu 11.2.1 11.2.1-ubuntu 11.2.2 11.2.2-ubuntu 11.3.0
11.3.0-76537 11.3.0-ubuntu latest latest-ubuntu main main-ubuntu dev-musl v11.2.x
"""
PROMETHEUS = """
latest main v2.45.6 v2.53.1 v2.53.2 v2.54.0 v2.54.0-rc.0 v2.54.0-rc.1 v2.54.1 v2.55.0 v2.55.0-rc.0 v3.0.0-beta.0
v3.0.0-beta.1 v3.0.0-rc.0 release-2.55
"""
RANCHER = """
head latest stable v2.8-head v2.8.8 v2.8.8-linux-amd64 v2.8.8-rc1 v2.8.9-alpha1 v2.8.9-hotfix-1a2b v2.9-head v2.9.0
v2.9.1 v2.9.2 v2.9.2-linux-amd64 v2.9.2-rc1 v2.9.2-windows-1809 v2.9.3-alpha5 v2.9.3-alpha6 v2.10-head
v2.10-1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d-head
"""
K3S = """
latest v1.29.8-k3s1 v1.29.9-k3s1 v1.30.1-k3s1 v1.30.4-k3s1 v1.30.5-k3s1 v1.30.5-rc1-k3s1 v1.31.0-k3s1 v1.31.1-k3s1
v1.31.1-k3s1-arm64 v1.31.1-rc1-k3s1 v1.30-k3s1
"""
TEMURIN = """
8 8-jdk 8u412-b08-jdk 8u422-b05-jdk 8u422-b05-jre 17 17-jdk 17.0.11_9-jdk 17.0.12_7-jdk 17.0.12_7-jre 21 21-jdk
21-jdk-alpine 21.0.3_9-jdk 21.0.4_7-jdk 21.0.4_7-jdk-alpine 21.0.4_7-jre-alpine 21_35-jdk 22_36-jdk
22.0.2_9-jdk 23_37-jdk latest
"""
CUDA = """
11.8.0-base-ubuntu22.04 12.3.2-devel-ubuntu22.04 12.4.0-devel-ubuntu22.04 12.4.1-base-ubuntu22.04
12.4.1-cudnn-devel-rockylinux9 12.4.1-cudnn-devel-ubuntu22.04 12.4.1-devel-ubi8 12.4.1-devel-ubuntu20.04
12.4.1-devel-ubuntu22.04 12.4.1-runtime-ubuntu22.04 12.5.0-devel-ubuntu22.04 12.5.1-devel-ubuntu22.04
12.6.0-devel-ubuntu24.04
"""
DATES = (
    "2024-05-01 2024-05-02 20240501 20240502 20240502.1 20240502120000 nightly-20240502 v20240502 latest 1.0.0 1.1.0"
)
HASHES = """
4f2a9c1 4f2a9c1d0b 1234567 9e107d9d372bb6826bd81d3542a419d6e107d9d3 sha-4f2a9c1 main-4f2a9c1 0.9.0 0.10.0 0.10.0-4f2a9c1
4f2a9c1-alpine edge
"""


class Choice(NamedTuple):
    """A list of tags, rules, and the tags that they choose."""

    tags: str
    rules: dict[str, Any]
    chosen: str


def choice(tags: str, chosen: str, **rules: Any) -> Choice:
    """Make a choice; see `rig.rules_of` for the rules."""
    return Choice(tags, rules, chosen)


CHOICES = [
    choice(NGINX, "1.26.2 1.27.2", newest=1, per="minor"),
    choice(NGINX, "1.26.2 1.26.2-alpine 1.27.2 1.27.2-alpine", newest=1, per="minor", variants="- alpine"),
    choice(NGINX, "1.27.1-alpine3.20 1.27.2-alpine3.20", version=">=1.27", variants="alpine3.*"),
    choice(NGINX, "1.26.2-alpine-slim 1.27.2-alpine-slim", variants="*-slim"),
    choice(NGINX, "1.27 1.27.1 1.27.2 latest", newest=2, also="latest 1.27"),
    choice(NGINX, "1 1-alpine 1-alpine-slim", match="1 1-*"),
    choice(NGINX, "1.26 1.27 latest mainline stable", match="/[0-9]\\.[0-9]+|[a-z]+/", exclude="alpine"),
    choice(NGINX, "1.26.1 1.26.2", version=">=1.25 <1.27"),
    choice(PYTHON, "3.12.7 3.13.0", version=">=3", newest=1, per="minor"),
    choice(PYTHON, "2.7.18 3.13.0", newest=1, per="major"),
    choice(PYTHON, "3.12.6-slim 3.12.7-slim 3.13.0-slim", version="3", variants="slim"),
    choice(PYTHON, "3.13.0 3.13.0rc3 3.14.0a1", version=">=3.13", prereleases=True),
    choice(PYTHON, "3.14.0a1-slim", version=">=3.13", variants="slim", prereleases=True, newest=1),
    choice(PYTHON, "3.12.7-slim 3.12.7-slim-bookworm 3.13.0-slim", variants="slim*", newest=1, per="minor"),
    choice(GOLANG, "1.22.8 1.23.2", newest=1, per="minor"),
    choice(GOLANG, "1.24rc1", newest=1, prereleases=True),
    choice(GOLANG, "1.22.7-alpine 1.22.8-alpine 1.23.1-alpine 1.23.2-alpine", variants="alpine", newest=2, per="minor"),
    choice(GOLANG, "1.23.2 1.24rc1", newest=1, per="minor", version=">=1.23", prereleases=True),
    choice(GOLANG, "1.23rc1 1.23rc2 1.24rc1", match="*rc*", exclude="*-alpine", prereleases=True),
    choice(GOLANG, "1.23.2-alpine 1.23.2-bookworm", version="1.23.2", variants="?*"),
    choice(UBUNTU, "22.04 24.04", version=">=22.04", exclude="*.10 /25.*/"),
    choice(UBUNTU, "24.10 25.04 latest", newest=2, also="latest"),
    choice(UBUNTU, "20.04 22.04 24.04", match="*.04", version=">=20 <25"),
    choice(UBUNTU, "jammy jammy-20240911.1", match="jammy*"),
    choice(ALPINE, "3.18.9 3.19.4 3.20.3", version="3", newest=1, per="minor"),
    choice(ALPINE, "3.20.3 3.21.0_rc1", newest=2, prereleases=True),
    choice(ALPINE, "2.7 3.20.3", newest=1, per="major"),
    choice(ALPINE, "20240329 20240606 20240923", match="2024*"),
    choice(POSTGRES, "9.6.24 15.8 16.4 17.0", newest=1, per="major"),
    choice(POSTGRES, "16.3 16.4", version="16"),
    choice(POSTGRES, "15.8-alpine 16.4-alpine 17.0-alpine", version=">=15", variants="alpine"),
    choice(POSTGRES, "17.0 17beta3 17rc1", version="17", prereleases=True),
    choice(POSTGRES, "16.4-alpine3.20 16.4-bookworm", version="16", variants="*", exclude="*-alpine /[^-]+/"),
    choice(REDIS, "6.2.16 7.2.6 7.4.1", newest=1, per="minor"),
    choice(REDIS, "7.2.6-alpine 7.4.1-alpine", variants="alpine", newest=1, per="minor"),
    choice(REDIS, "7.4.0 7.4.1", version="7.4", prereleases=True, exclude="*-rc*"),
    choice(REDIS, "7.4-rc2", match="7.4-rc?", prereleases=True),
    choice(REDIS, "8.0-M01", version="8", variants="M*"),
    choice(GRAFANA, "11.2.2 11.3.0", newest=2),
    choice(GRAFANA, "11.2.2-ubuntu 11.3.0-ubuntu", variants="ubuntu", newest=2),
    choice(GRAFANA, "11.2.0-security-01", variants="security-*"),
    choice(GRAFANA, "latest main", match="latest main"),
    choice(PROMETHEUS, "v2.45.6 v2.53.2 v2.54.1 v2.55.0", match="v*", newest=1, per="minor"),
    choice(PROMETHEUS, "v2.55.0", match="v*", newest=1),
    choice(PROMETHEUS, "v3.0.0-rc.0", match="v*", newest=1, prereleases=True),
    choice(PROMETHEUS, "v2.45.6 v2.53.1 v2.53.2 v2.54.0 v2.54.1 v2.55.0", match="v*"),
    choice(RANCHER, "v2.8.8 v2.9.2", newest=1, per="minor"),
    choice(RANCHER, "v2.9.2-linux-amd64", variants="linux-*", newest=1),
    choice(RANCHER, "v2.9.3-alpha6", newest=1, prereleases=True),
    choice(RANCHER, "v2.9.1 v2.9.2 stable", version=">=2.8", newest=2, also="stable"),
    choice(RANCHER, "v2.8-head v2.9-head v2.10-head", match="v2.*-head", exclude="/.*[0-9a-f]{40}.*/"),
    choice(K3S, "v1.29.9-k3s1 v1.30.5-k3s1 v1.31.1-k3s1", variants="k3s*", newest=1, per="minor", exclude="*-arm64"),
    choice(K3S, "v1.31.0-k3s1 v1.31.1-k3s1", variants="k3s1", newest=2),
    choice(TEMURIN, "17.0.12_7-jdk 21.0.4_7-jdk", version=">=17 <22", variants="jdk", newest=1, per="major"),
    choice(TEMURIN, "8u412-b08-jdk 8u422-b05-jdk", version="8", variants="jdk"),
    choice(TEMURIN, "22.0.2_9-jdk 23_37-jdk", variants="jdk", newest=2),
    choice(
        CUDA, "12.5.0-devel-ubuntu22.04 12.5.1-devel-ubuntu22.04", version="12", variants="devel-ubuntu22.04", newest=2
    ),
    choice(
        CUDA,
        "12.4.1-devel-ubi8 12.4.1-devel-ubuntu20.04 12.4.1-devel-ubuntu22.04",
        version="12.4.1",
        variants="devel-*",
    ),
    choice(DATES, "1.0.0 1.1.0", version=">=0"),
    choice(DATES, "2024-05-01 2024-05-02", match="????-??-??"),
    choice(HASHES, "0.9.0 0.10.0", newest=5),
]
