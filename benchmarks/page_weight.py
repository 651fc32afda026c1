"""What a browser loads to show the first page: every file, its size as sent, and the sum; in a demo-sized and in an empty office.

    python benchmarks/page_weight.py

The page, its style sheets, its scripts and its picture are fetched as a browser fetches them (gzip), signed in, with a full
list of mail and a conversation of twenty cards. The aim is 80 kB (issue 2).
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from web_office import ALICE, Client, web_office

TEXT = "Bonjour, voici les nouvelles de la semaine : {n} points à voir ensemble, dont le budget, la salle et le covoiturage. "


async def fetched(client: Client, path: str) -> tuple[int, int, str]:
    """Octets on the wire, octets unpacked, and the text of one file."""
    async with client.session.get(client.site.url + path, headers={"Accept-Encoding": "gzip"}, allow_redirects=True) as answer:
        body = await answer.read()
        text = body.decode()
    async with client.session.get(client.site.url + path, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as answer:
        return len(await answer.read()), len(body), text


async def weigh(client: Client, path: str, label: str) -> None:
    """Print what a page costs, file by file."""
    rows = [(path, *await fetched(client, path))]
    for address in dict.fromkeys(re.findall(r'(?:src|href)="(/static/[^"]+)"', rows[0][3])):
        rows.append((address.rpartition("/")[2], *await fetched(client, address)))
    print(f"\n{label}")
    for name, sent, unpacked, _ in rows:
        print(f"  {name[:40]:<40} {sent:>8} {unpacked:>8}")
    sent, unpacked = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(f"  {f'together, in {len(rows)} requests':<40} {sent:>8} {unpacked:>8}   {sent / 80_000:.0%} of 80 kB")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with web_office(Path(folder)) as site:
            client = await site.client()
            await weigh(client, "/sign-in", "signing in                                     as sent  unpacked")
            await client.sign_in(ALICE)
            await weigh(client, "/", "the office, empty                              as sent  unpacked")
            for n in range(60):
                text = "".join(TEXT.format(n=n + k) for k in range(4))
                head = f"From: Person {n} <p{n}@example.test>\nTo: {ALICE}\nSubject: Semaine {n}\n"
                await site.deliver(f"{head}\n{text}\n".encode())
            conversation = await client.conversation()
            await client.ask("POST", f"/chat/{conversation}/say", {"text": "liste mes mails"})
            await weigh(client, "/", "the office, 40 mails listed, 20 cards          as sent  unpacked")


asyncio.run(main())
