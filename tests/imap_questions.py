"""What is asked of two IMAP servers about the same mails: every command and item of RFC 3501, well and badly put."""

# ruff: noqa: E501 (tables)

from __future__ import annotations

from itertools import product

ITEMS = ["FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE"]
PARTS = ["1", "2", "3", "1.2", "2.1", "2.2", "1.1.1", "2.1.1", "9", "1.1.1.1.1.1.1.1.1.1.1", ".".join(["1"] * 46)]
KINDS = ["HEADER", "TEXT", "MIME", "HEADER.FIELDS (SUBJECT)", "HEADER.FIELDS.NOT (SUBJECT)"]
SECTIONS = [
    "", "HEADER", "TEXT", "HEADER.FIELDS (SUBJECT FROM DATE)", "HEADER.FIELDS.NOT (SUBJECT FROM)", "HEADER.FIELDS (X-NONE)", "HEADER.FIELDS.NOT (X-NONE)",
    "HEADER.FIELDS (RECEIVED)", "HEADER.FIELDS (TO CC)", "HEADER.FIELDS (CONTENT-TYPE)", "HEADER.FIELDS (X-1999)", *PARTS, *(f"{part}.{kind}" for part, kind in product(["1", "2", "1.2", "2.1"], KINDS)),
]  # fmt: skip
PARTIALS = ["<0.0>", "<0.1>", "<0.10>", "<3.20>", "<10.99999999>", "<99999.3>", "<4294967295.1>", "<0.4294967295>", "<5>", "<.5>", "<5.>", "<-1.5>", "<1.x>", "<0.4294967296>"]
SETS = [
    "1", "*", "*:*", "1:*", "*:1", "5:2", "2:5", "1,1,1", "1:3,2:4", "3,1,2", "460:*", "999", "999:*", "*:999", "0", "1:0", "0:*", "1:", ":1", ",1", "1,", "1,,2", "1::2", "1:2:3", "a", "",
    "4294967295", "4294967296", "99999999999", "1 :2", "1.2", "-1", "+1", "01", "1;2", "(1)", '"1"', "$", "*,1", "1:*,*:1",
]  # fmt: skip

FETCHES = [
    *(f"FETCH 1:* {item}" for item in ITEMS), *(f"FETCH 1:* BODY.PEEK[{section}]" for section in SECTIONS),
    *(f"FETCH 1:40:3 {item}" for item in ITEMS[:1]),
    *(f"FETCH 1,340,390 BODY.PEEK[{section}]{partial}" for section, partial in product(("", "HEADER", "TEXT", "1", "HEADER.FIELDS (FROM)"), PARTIALS[:8])),
    *(f"FETCH 1 BODY.PEEK[]{partial}" for partial in PARTIALS[8:]),
    *(f"FETCH {numbers} UID" for numbers in SETS), *(f"UID FETCH {numbers} UID" for numbers in SETS),
    *(f"FETCH 1:3 {macro}" for macro in ("ALL", "FAST", "FULL", "all", "Full", "(ALL)", "(FAST FLAGS)", "FAST FLAGS", "ALLES", "()", "( FLAGS)", "(FLAGS )", "(FLAGS  UID)", "(FLAGS,UID)", "((FLAGS))")),
    *(f"FETCH 1 {item}" for item in (
        "", "X", "BODY.PEEK", "BODY[", "BODY[]]", "BODY[HEADER", "BODY[MIME]", "BODY[0]", "BODY[1.0]", "BODY[.1]", "BODY[1.]", "BODY[1..2]", "BODY[HEADER.1]", "BODY[TEXT.HEADER]", "BODY[1.MIME.1]", "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]", "BODY[HEADER.FIELDS (]", "BODY[HEADER.FIELDS SUBJECT]", "BODY[HEADER.FIELDS(SUBJECT)]", "BODY[HEADER.FIELD (SUBJECT)]", "BODY[header.fields (subject)]", 'BODY.PEEK[HEADER.FIELDS ("Subject" Date)]',
        "BODY.PEEK[HEADER.FIELDS ({7+}\r\nSubject)]", "BODY.PEEK[HEADER.FIELDS (Subject Subject)]", "BODYSTRUCTURE[]", "ENVELOPE[1]", "FLAGS[]", "FLAGS.SILENT", "UID.X", "RFC822.PEEK", "RFC822.TEXT.PEEK", "RFC822.SIZE.X",
        "BODY.PEEK[1]BODY.PEEK[2]", "(BODY.PEEK[1] BODY.PEEK[1])", "(UID UID)", "(FLAGS FLAGS UID)", "(BODY.PEEK[]<0.5> BODY.PEEK[]<5.5>)", "(BODY BODYSTRUCTURE ENVELOPE)", "INTERNALDATE.X", "BINARY[1]",
        "(BODY.PEEK[HEADER] BODY.PEEK[TEXT] RFC822.SIZE)", "body.peek[text]", "rfc822.header", "(RFC822.HEADER RFC822.SIZE)",
    )),
    "FETCH", "FETCH 1", "FETCH FLAGS", "UID", "UID FETCH", "UID NOOP", "UID UID FETCH 1 FLAGS", "UID FETCH 1:3 (FLAGS)", "UID FETCH 1:3 (UID FLAGS)", "uid fetch 2 flags", "FeTcH 2 fLaGs",
    # what marks as read
    "FETCH 5 RFC822", "FETCH 5 FLAGS", "FETCH 6 RFC822.TEXT", "FETCH 6 FLAGS", "FETCH 7 RFC822.HEADER", "FETCH 7 FLAGS", "FETCH 8 BODY[]", "FETCH 8 FLAGS", "FETCH 9 (FLAGS BODY[1])", "FETCH 9 FLAGS",
    "FETCH 10:12 (BODY[TEXT]<0.1> UID)", "FETCH 10:12 FLAGS", "UID FETCH 13 BODY[HEADER]", "FETCH 13 FLAGS", "FETCH 14 BODY[9]", "FETCH 14 FLAGS", "FETCH 8 BODY[HEADER.FIELDS (SUBJECT)]",
]  # fmt: skip

WORDS = ["bonjour", "BONJOUR", "rapport", "midi", "Déjeuner", "台北", "word word", "zzz-nowhere", "person 7", "example.test", "jpeg", "inner", "a", "é", "text/html", "Content-Type", "boundary", "%PDF", "two  spaces", "two spaces"]
SEARCHES = [
    *(f"SEARCH {key}" for key in (
        "ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "NEW", "OLD", "RECENT", "SEEN", "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN", "KEYWORD Work", "UNKEYWORD Work", "KEYWORD work", "KEYWORD Nowhere",
        "LARGER 0", "LARGER 1000", "SMALLER 100", "SMALLER 0", "LARGER 4294967295", "LARGER -1", "LARGER x", "LARGER", "NOT SEEN", "NOT NOT SEEN", "OR SEEN FLAGGED", "OR NOT SEEN NOT FLAGGED", "OR SEEN", "NOT", "OR",
        "SEEN UNSEEN", "SEEN FLAGGED", "(SEEN FLAGGED)", "(SEEN) (FLAGGED)", "((SEEN))", "()", "( SEEN)", "(SEEN ", "SEEN)", "NOT (SEEN FLAGGED)", "OR (SEEN FLAGGED) (UNSEEN 1:10)", "OR OR 1 2 OR 3 4", "1:5", "5:1", "*", "1,3,5:7", "999",
        "1:999", "NOT 1:460", "UID 1:5", "UID *", "UID 999:*", "UID 5:1", "UID", "UID x", "1:10 SEEN", "ALL 1:3", "seen", "Not Seen", "ALL ALL", "X-NONE", "", "ALL ", " ALL", "1 :3", "SEEN,FLAGGED",
    )),
    *(f"SEARCH {key} {day}" for key, day in product(("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"), ("1-Feb-2024", '"1-Feb-2024"', "14-Nov-2023", "01-feb-2024", "2-Feb-2024"))),
    *(f"SEARCH {key}" for key in ("BEFORE", "BEFORE x", "ON 31-Feb-2024", "ON 1-Feb-24", "ON 1/2/2024", "ON 2024-02-01", "ON 001-Feb-2024", "ON 0-Feb-2024", "SENTON 31-Jan-2024", "ON 15-Nov-2023", "SINCE 15-Nov-2023", "BEFORE 15-Nov-2023")),
    *(f'SEARCH CHARSET UTF-8 {key} "{word}"' for key, word in product(("SUBJECT", "TEXT", "BODY"), WORDS)),
    *(f"SEARCH {key} {word}" for key, word in product(("FROM", "TO", "CC", "BCC"), ("ann", "alice", "x.test", '"Person 1"', '""', "ZOE", "undisclosed", "@"))),
    *(f"SEARCH HEADER {field} {word}" for field, word in (
        ("Subject", "one"), ("Subject", "two"), ("SUBJECT", "rapport"), ("Received", "h7"), ("X-Priority", "1"), ("X-Empty", '""'), ("X-Priority", '""'), ("X-None", '""'), ("Message-ID", "7@example"), ("Date", "Feb"),
        ("Content-Type", "html"), ("From", "ann"), ("From", "b@x.test"), ("To", "d@x.test"), ("List-Id", "list"), ("References", "2@x.test"), ("X-1999", "1999"), ("Bad", "x"), ('"Subject"', "one"), ("Subject:", "one"), ("", "x"), ('""', "x"), ("Reply-To", "j@"), ("Sender", "h@"),
    )),
    "SEARCH HEADER Subject", "SEARCH HEADER", "SEARCH SUBJECT", "SEARCH TEXT", "SEARCH SUBJECT {6+}\r\nfolded", "SEARCH HEADER {7+}\r\nSubject {6+}\r\nfolded", 'SEARCH SUBJECT "with \\"quotes\\""', 'SEARCH SUBJECT "back\\\\slash"', 'SEARCH SUBJECT "bad\\escape"',
    "SEARCH CHARSET US-ASCII SUBJECT plain", "SEARCH CHARSET ISO-8859-1 SUBJECT {9+}\r\nd\\xe9jeuner", "SEARCH CHARSET X-UNKNOWN SUBJECT plain", "SEARCH CHARSET UTF-8", "SEARCH CHARSET", 'SEARCH CHARSET "UTF-8" ALL', "SEARCH CHARSET utf8 ALL",
    "SEARCH ALL CHARSET UTF-8", "UID SEARCH ALL", "UID SEARCH 1:3", "UID SEARCH UID 1:3", "UID SEARCH SEEN", "uid search seen", "SEARCH SUBJECT rapport FROM person 1:20", "SEARCH OR SUBJECT rapport BODY bonjour", "SEARCH NOT SUBJECT rapport 1:20",
    "SEARCH SUBJECT (x)", "SEARCH SUBJECT x)", "SEARCH SUBJECT NIL", "SEARCH TEXT deep", "SEARCH BODY deep", "SEARCH TEXT innermost", "SEARCH BODY innermost", "SEARCH BODY begin",
]  # fmt: skip

STORES = [
    "STORE 1 FLAGS (\\Seen)", "STORE 1 +FLAGS (\\Flagged)", "STORE 1 -FLAGS (\\Seen)", "STORE 1 FLAGS ()", "STORE 2:4 +FLAGS.SILENT (\\Answered)", "FETCH 2:4 FLAGS", "STORE 2 -FLAGS.SILENT (\\Answered)", "FETCH 2 FLAGS",
    "STORE 1 FLAGS.SILENT (\\Draft)", "FETCH 1 FLAGS", "STORE 1 FLAGS \\Seen", "STORE 1 FLAGS \\Seen \\Flagged", "STORE 1 +FLAGS Work", "STORE 1 +FLAGS (work WORK)", "FETCH 1 FLAGS", "STORE 2 +FLAGS (wOrK Other)", "FETCH 2 FLAGS",
    "STORE 1 -FLAGS (WORK)", "FETCH 1 FLAGS", "STORE 1 +FLAGS ($Forwarded $MDNSent)", "STORE 1 FLAGS (\\Recent)", "STORE 1 +FLAGS (\\Recent)", "STORE 1 +FLAGS (\\Nonsense)", "STORE 1 +FLAGS (\\)", "STORE 1 +FLAGS (\\*)", "STORE 1 +FLAGS (a b)", "STORE 1 +FLAGS (a  b)",
    "STORE 1 +FLAGS ((a))", "STORE 1 +FLAGS (\"a\")", "STORE 1 +FLAGS a]b", "STORE 1 +FLAGS (a%b)", "STORE 1 +FLAGS (a*b)", "STORE 1 +FLAGS (a{b)", "STORE 1 +FLAGS (a\\b)", "STORE 1 +FLAGS", "STORE 1", "STORE", "STORE 1 FLAGS", "STORE 1 *FLAGS (x)", "STORE 1 + FLAGS (x)",
    "STORE 1 FLAGS.LOUD ()", "STORE 1 FLAGS.silent (\\Seen)", "store 1 flags (\\sEEn \\ANSWERED)", "STORE 999 +FLAGS (\\Seen)", "STORE 1:999 +FLAGS (\\Seen)", "STORE 0 +FLAGS (\\Seen)", "STORE *:* +FLAGS (\\Seen)", "UID STORE 2 +FLAGS (\\Seen)", "UID STORE 999 +FLAGS (\\Seen)",
    "UID STORE 2:3 -FLAGS.SILENT (\\Seen)", "UID STORE * FLAGS ()", "STORE 20:30 +FLAGS.SILENT (\\Seen Work)", "STORE 25:35 +FLAGS.SILENT (\\Flagged \\Answered)", "STORE 40 +FLAGS.SILENT (\\Draft)", "FETCH 1:45 FLAGS", "STORE 1,1,1 +FLAGS (\\Flagged)", "STORE 1 +FLAGS (\\Flagged)",
]  # fmt: skip

FOLDERS = [
    *(f"CREATE {name}" for name in (
        "One", "One", "INBOX", "inbox", "INBOX/Sub", "Two", "Two/Deep", "Two/Deep/Down", "Two/", "Two/Deep", '"With Space"', '"a \\"q\\""', '""', "&AOk-t&AOk-", "&AOk-", "&-", "R&D", "R&-D", "&ABC", "&U,BTFw-", "&Jjo", "Envoy\xe9s", "/", "/abs", "a//b", "a/", "..", "../x", "a/../b", ".", "a.b",
        "(", "{3+}\r\nLit", "{4+}\r\nL/it", "{0+}\r\n", "NIL", "nil", "", "x" * 300, "tab\there",
    )),
    *(f'LIST "" {pattern}' for pattern in ('*', '%', '""', "INBOX", "inbox", "Inbox", "INB*", "One", "one", "Two", "Two/*", "Two/%", "T%", "T*", "*o*", "%/%", "%/%/%", "*/Down", "Two/Deep/Down", "Two/", "Nowhere", "/*", '"With Space"', '"With*"', "&AOk-*", "{3+}\r\nLit", "%%", "**", "*%", "INBOX/*", "INBOX*", "in*", "(One Two)")),
    *(f"LIST {reference} {pattern}" for reference, pattern in (("Two", "%"), ("Two/", "%"), ("Two/", "*"), ("Two/Deep", "/Down"), ("Two/Deep/", "Down"), ("One", "*"), ("INBOX", '""'), ("Two/", '""'), ("/", '""'), ("INBOX/", "%"), ("Nowhere/", "*"), ("Two", "/Deep"), ("*", "x"), ("~", "%"), ("Two/", "/Deep"))),
    "LIST", 'LIST ""', 'LIST "" "" ""', "LIST x", 'list "" one', *(f"UNSUBSCRIBE {name}" for name in ("One", "INBOX", "INBOX/Sub", "Two", "Two/Deep", "Two/Deep/Down", "a", "nil", "R&-D", "&U,BTFw-", '"With Space"', '"a \\"q\\""', "&AOk-t&AOk-", "&AOk-", "&-", "Lit", "L", "L/it", "NIL", "a.b", ".")), 'LSUB "" *', "SUBSCRIBE One", "SUBSCRIBE Two/Deep/Down", "SUBSCRIBE INBOX", "SUBSCRIBE inbox", "SUBSCRIBE One", "SUBSCRIBE R&D", "SUBSCRIBE",
    *(f'LSUB "" {pattern}' for pattern in ("*", "%", "One", "T*", "T%", "Two/%", "Two", "Two/Deep/%", '""', "inbox", "Nowhere")), 'LSUB Two/ *', "LSUB Two/ %", "UNSUBSCRIBE Never", "UNSUBSCRIBE One", 'LSUB "" *',
    *(f"STATUS {name} ({items})" for name, items in (("INBOX", "MESSAGES"), ("INBOX", "MESSAGES RECENT UIDNEXT UNSEEN"), ("inbox", "MESSAGES"), ("One", "MESSAGES UIDNEXT UNSEEN RECENT"), ("Two", "MESSAGES"), ("Nowhere", "MESSAGES"), ("One", ""), ("One", "X"), ("One", "MESSAGES MESSAGES"), ("One", "messages"), ("One", " MESSAGES"), ('"With Space"', "MESSAGES"))),
    "STATUS One MESSAGES", "STATUS One", "STATUS", "STATUS One (MESSAGES", "STATUS One MESSAGES)",
    "RENAME One Uno", 'LIST "" *n*', "RENAME One X", "RENAME Uno Uno", "RENAME Uno INBOX", "RENAME Uno inbox", "RENAME Uno Two", "RENAME Two Zwei", 'LIST "" Zwei*', 'LSUB "" *', "RENAME Zwei/Deep Zwei/Tief", 'LIST "" Zwei*', "RENAME Zwei Zwei/Deep/In", "RENAME Zwei/Tief Elsewhere/New/Tief", 'LIST "" Elsewhere*',
    "RENAME Uno R&D", "RENAME Uno a//b", "RENAME Uno", "RENAME", 'RENAME Uno ""', 'RENAME "" Uno', "RENAME Nowhere There", "DELETE Nowhere", "DELETE INBOX", "DELETE inbox", "DELETE", 'DELETE ""', "DELETE Uno", "DELETE Uno", "DELETE Elsewhere/New/Tief/Down", 'LIST "" Elsewhere*',
    "CREATE Q", "CREATE Q/C", "DELETE Q", 'LIST "" Q*', "STATUS Q (MESSAGES)", "SELECT Q", "CREATE Q", "DELETE Q/C", "DELETE Q",
]  # fmt: skip

COPIES = [
    "CREATE Target", "COPY 1 Target", "COPY 1:3 Target", "COPY 3:1,2 Target", "COPY * Target", "COPY 999 Target", "COPY 1:999 Target", "COPY 1 Nowhere", "COPY 1", "COPY", "COPY x Target", 'COPY 1 "Target"', "COPY 1 {6+}\r\nTarget", "UID COPY 1 Target", "UID COPY 999 Target", "UID COPY 1:3 Nowhere",
    "COPY 1 R&D", "STATUS Target (MESSAGES UIDNEXT UNSEEN)", "SELECT Target", "FETCH 1:* (UID FLAGS RFC822.SIZE)", "STORE 2,4 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", "FETCH 1:* UID", "EXPUNGE", "STORE 1 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 999", "UID EXPUNGE 3", "UID EXPUNGE 1:*", "UID EXPUNGE", "UID EXPUNGE x", "EXPUNGE 1", "FETCH 1:* UID",
    "STORE 1 +FLAGS.SILENT (\\Deleted)", "EXAMINE Target", "STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1:*", "FETCH 1 BODY[]<0.1>", "FETCH 1 FLAGS", "COPY 1 Target", "CLOSE", "STATUS Target (MESSAGES)", "FETCH 1 FLAGS", "CLOSE", "UNSELECT", "EXPUNGE", "CHECK", "SEARCH ALL", "STORE 1 FLAGS ()", "COPY 1 INBOX",
    "SELECT Target", "UNSELECT", "STATUS Target (MESSAGES)", "SELECT Target", "CLOSE", "STATUS Target (MESSAGES)", "SELECT Target", "SELECT Nowhere", "FETCH 1 FLAGS", "SELECT", "SELECT x y", 'SELECT "Target', "EXAMINE", "EXAMINE Nowhere", "select target", "select TARGET", "SELECT inbox", "EXAMINE INBOX", "CHECK", "NOOP", "NOOP x", "CHECK x", "CLOSE x", "SELECT INBOX", "DELETE Target",
]  # fmt: skip

MAIL = "From: a@x.test\r\nSubject: appended\r\n\r\nbody\r\n"
SIZE = len(MAIL.encode())
APPENDS = [
    "CREATE In", *(f"APPEND In {words}{{{SIZE}}}\r\n{MAIL}" for words in (
        "", "(\\Seen) ", "(\\Seen \\Flagged Work) ", "() ", '"01-Feb-2024 10:00:00 +0100" ', '" 1-Feb-2024 10:00:00 -0830" ', '(\\Draft) "31-Dec-1999 23:59:59 +0000" ', '"1-Feb-2024 10:00:00 +0100" ', '"01-Feb-2024" ', "(\\Recent) ",
        "(\\Nonsense) ", '"01-Feb-1969 10:00:00 +0000" ', '"" ', "(work) ",
    )), f"APPEND Nowhere {{{SIZE}}}\r\n{MAIL}", f"APPEND R&D {{{SIZE}}}\r\n{MAIL}", f'APPEND "In" {{{SIZE}}}\r\n{MAIL}', f"APPEND {{2+}}\r\nIn {{{SIZE}}}\r\n{MAIL}", "APPEND In {0}\r\n", "APPEND In", "APPEND", "APPEND In (\\Seen)", 'APPEND In "text"', "APPEND In {5}\r\nabc\r\n",
    "APPEND In {1}\r\nx", "APPEND In {10}\r\n\r\n\r\n\r\n\r\n\r\n", "APPEND In {4}\r\na\nb\n", "STATUS In (MESSAGES UIDNEXT UNSEEN)", "SELECT In", "FETCH 1:* (FLAGS RFC822.SIZE)", "FETCH 5:9 INTERNALDATE", "FETCH 1:* BODY.PEEK[]",
    *(f"APPEND In {words}{{{SIZE}}}\r\n{MAIL}" for words in (
        '"32-Feb-2024 10:00:00 +0100" ', '"01-Feb-2024 25:00:00 +0100" ', '"01-Feb-2024 10:00:00 +9999" ', '"29-Feb-2023 10:00:00 +0000" ', '"01-Feb-2024 10:00:00 GMT" ', "(\\Seen)",
    )),
]  # fmt: skip

OTHERS = [
    "CAPABILITY x", "NAMESPACE", "NAMESPACE x", "NOOP", "noop", "LOGIN a b", "AUTHENTICATE PLAIN", "NONSENSE", "UID NONSENSE", "ID NIL", 'ID ("name" "x")', 'ID ("name" NIL)', "ID ()", "ID", "ID x", 'ID ("a")', "STARTTLS", "ENABLE", "MOVE", "GETQUOTA", "ENABLE CONDSTORE x y", " NOOP", "NOOP ", "\tNOOP",
]  # fmt: skip
