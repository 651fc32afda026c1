"""Install gk: everything there is to say is in settings.ini, which nbdev reads too."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=["="], interpolation=None)
parser.read("settings.ini", encoding="utf-8")
config = parser["DEFAULT"]


def lines(key: str) -> list[str]:
    """The non-empty lines of one setting."""
    return [line.strip() for line in config[key].splitlines() if line.strip()]


setup(
    name=config["lib_name"],
    version=config["version"],
    description=config["description"],
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author=config["author"],
    author_email=config["author_email"],
    packages=find_packages(include=["gk", "gk.*"]),
    package_data={"gk.web": ["static/*"], "gk": ["py.typed", "demo_world.txt"]},
    python_requires=f">={config['min_python']}",
    install_requires=lines("requirements"),
    extras_require={"dev": lines("dev_requirements")},
    entry_points={"console_scripts": lines("console_scripts")},
)
