"""Builds a wheel of one platform: the library inside is machine code, the rest any Python's."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

if not (Path(__file__).parent / "attnbench/lib/libattnbench.so").exists():
    raise SystemExit("error: attnbench/lib/libattnbench.so is missing; `make python` builds it")


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(distclass=PlatformDistribution, cmdclass={"bdist_wheel": PlatformWheel})
