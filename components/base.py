"""What all components share: the image they run in."""

from __future__ import annotations

import functools
import os

from kfp import dsl

IMAGE = os.environ.get("REGRAFT_IMAGE", "regraft/steps-cpu:0.1.0")

component = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
