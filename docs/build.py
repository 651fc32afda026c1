"""Build README.md and the documentation site from the notebooks; it runs no notebook and asks no other host.

    python docs/build.py            # README.md and _docs/index.html
    python docs/build.py --readme   # README.md alone
    python docs/build.py --check    # the site, and fail if README.md is not what nbs/index.ipynb says

nbdev prepares the notebooks (`nbdev.serve.proc_nbs`: exported cells become signatures with their parameter tables), Sphinx with
MyST-NB renders them. Sphinx treats every link or anchor that leads nowhere as an error (`-W`), so building is the link check.
Who has Quarto can use `nbdev_docs` instead: `_quarto.yml` is there for it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbdev.serve import proc_nbs
from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parent.parent
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


def readme(processed: Path) -> str:
    """README.md as Markdown, from the processed index notebook; links to chapters lead into nbs/."""
    notebook = nbformat.read(processed / "index.ipynb", as_version=4)
    exporter = MarkdownExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    text, _ = exporter.from_notebook_node(notebook)
    text = re.sub(r"\A\s*---\n.*?\n---\n", "", text, flags=re.S)
    text = re.sub(r"\]\((?!https?://|#|/)([\w./-]+\.ipynb)\)", r"](nbs/\1)", text)
    return "<!-- made from nbs/index.ipynb by docs/build.py -->\n\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def front_matter_to_title(notebook: nbformat.NotebookNode) -> None:
    """Turn the front matter nbdev leaves for Quarto back into the heading that Sphinx reads."""
    cell = notebook.cells[0]
    match = re.match(r"---\n(.*?)\n---\s*", "".join(cell.source), flags=re.S)
    if not match:
        return
    fields = dict(line.split(":", 1) for line in match[1].splitlines() if re.match(r"\w[\w-]*:", line))
    title, description = (fields.get(key, "").strip().strip("'\"") for key in ("title", "description"))
    rest = cell.source[match.end():]
    cell.cell_type, cell.source = "markdown", f"# {title}\n\n" + (f"*{description}*\n\n" if description else "") + rest
    for key in ("outputs", "execution_count"):
        cell.pop(key, None)


def contents(source: Path) -> str:
    """The table of contents that the first page carries, a section a floor."""
    sections = []
    for folder, caption in FLOORS.items():
        pages = sorted(path.stem for path in (source / folder).glob("*.ipynb"))
        if pages:
            lines = "\n".join(f"{folder}/{page}" for page in pages)
            sections.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```")
    return "\n\n".join(sections)


def prepare(processed: Path, source: Path) -> None:
    """Copy the processed notebooks to `source`, titled and listed as Sphinx wants them."""
    shutil.rmtree(source, ignore_errors=True)
    for path in sorted(processed.rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        front_matter_to_title(notebook)
        target = source / path.relative_to(processed)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
    index = nbformat.read(source / "index.ipynb", as_version=4)
    index.cells.append(nbformat.v4.new_markdown_cell(contents(source)))
    nbformat.write(index, source / "index.ipynb")


def main() -> int:
    """Build what the arguments ask for; the exit status is Sphinx's, or 1 when README.md is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", action="store_true", help="write README.md and stop")
    parser.add_argument("--check", action="store_true", help="fail if README.md is out of date instead of writing it")
    options = parser.parse_args()

    processed = proc_nbs(force=True, n_workers=2)
    text, path = readme(processed), ROOT / "README.md"
    if options.check and path.read_text(encoding="utf-8") != text:
        print("README.md is not what nbs/index.ipynb says: run python docs/build.py --readme", file=sys.stderr)
        return 1
    if not options.check:
        path.write_text(text, encoding="utf-8")
    if options.readme:
        return 0
    source = ROOT / "_proc" / "site"
    prepare(processed, source)
    return build_main(["-W", "--keep-going", "-q", "-c", str(ROOT / "docs"), str(source), str(ROOT / "_docs")])


if __name__ == "__main__":
    sys.exit(main())
