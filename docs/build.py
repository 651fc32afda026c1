"""Build README.md and the documentation site from the notebooks; it runs no notebook and asks no other host.

    python docs/build.py            # README.md and _docs/index.html
    python docs/build.py --readme   # README.md alone
    python docs/build.py --check    # the site, and fail if README.md is not what nbs/index.ipynb says

nbdev's processors prepare the notebooks (directives go, hidden cells go, exported code stays to be read), Sphinx with MyST-NB
renders them. Sphinx treats every link or anchor that leads nowhere as an error (`-W`), so building is the link check. Who has
Quarto can use `nbdev_docs` instead: `_quarto.yml` is there for it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbdev.process import NBProcessor
from nbdev.processors import filter_stream_, hide_, hide_line, strip_ansi, strip_hidden_metadata
from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parent.parent
SOURCE, SITE = ROOT / "_proc", ROOT / "_docs"
FLOORS = {
    "core": "Core",
    "accounts": "Accounts",
    "mail": "Mail",
    "smtp": "SMTP",
    "imap": "IMAP",
    "mcp": "Tools (MCP)",
    "agent": "The assistant",
    "web": "Web",
    "faces": "Faces",
}


def processed(path: Path) -> nbformat.NotebookNode:
    """One notebook as a reader should see it: without directives, the cells they hide, and the code of `#| echo: false`."""
    processors = [strip_hidden_metadata, hide_, hide_line, filter_stream_, strip_ansi]
    notebook = NBProcessor(path, procs=processors, process=True).nb
    cells = []
    for cell in notebook.cells:
        source = cell.source.strip("\n")
        if all(line.startswith("#|") for line in source.splitlines()):  # nothing, or nothing but directives
            continue
        if cell.cell_type == "code":
            outputs = [nbformat.from_dict(output) for output in cell.get("outputs", [])]
            shown = {"tags": ["remove-input"]} if "echo:" in getattr(cell, "directives_", {}) else {}
            cells.append(nbformat.v4.new_code_cell(source, outputs=outputs, metadata=shown))
        else:
            cells.append(nbformat.v4.new_markdown_cell(source))
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": notebook.metadata.get("kernelspec", {})})


def readme(notebook: nbformat.NotebookNode) -> str:
    """README.md as Markdown, from the processed first page; links to chapters and pictures lead into nbs/."""
    exporter = MarkdownExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    text, _ = exporter.from_notebook_node(notebook)
    text = re.sub(r"\]\((?!https?://|#|/)([\w./-]+\.(?:ipynb|png))\)", r"](nbs/\1)", text)
    return "<!-- made from nbs/index.ipynb by docs/build.py -->\n\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def contents() -> str:
    """The table of contents that the first page carries, a section a floor."""
    sections = ["```{toctree}\n:hidden:\n\nself\noperating\nstandards\n```"]
    for folder, caption in FLOORS.items():
        pages = sorted(path.stem for path in (ROOT / "nbs" / folder).glob("*.ipynb"))
        lines = "\n".join(f"{folder}/{page}" for page in pages)
        sections.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```")
    return "\n\n".join(sections)


def prepare() -> None:
    """Write every processed notebook to the folder that Sphinx reads."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "nbs" / "images", SOURCE / "images")
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        notebook, target = processed(path), SOURCE / path.relative_to(ROOT / "nbs")
        if target == SOURCE / "index.ipynb":
            notebook.cells.append(nbformat.v4.new_markdown_cell(contents()))
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)


def main() -> int:
    """Build what the arguments ask for; the exit status is Sphinx's, or 1 when README.md is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", action="store_true", help="write README.md and stop")
    parser.add_argument("--check", action="store_true", help="fail if README.md is out of date instead of writing it")
    options = parser.parse_args()

    text, path = readme(processed(ROOT / "nbs" / "index.ipynb")), ROOT / "README.md"
    if options.check and path.read_text(encoding="utf-8") != text:
        print("README.md is not what nbs/index.ipynb says: run python docs/build.py --readme", file=sys.stderr)
        return 1
    if not options.check:
        path.write_text(text, encoding="utf-8")
    if options.readme:
        return 0
    prepare()
    return build_main(["-W", "--keep-going", "-q", "-j", "2", "-c", str(ROOT / "docs"), str(SOURCE), str(SITE)])


if __name__ == "__main__":
    sys.exit(main())
