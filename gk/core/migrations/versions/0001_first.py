"""The first schema: people, mail, queue, conversations.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table of an empty database."""
    op.create_table(
        "alias",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias"),
        sa.UniqueConstraint("address", "target", name="uq_alias_address_target"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "change",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_change"),
    )
    op.create_index("ix_change_sequence", "change", ["sequence"])
    op.create_table(
        "content",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("envelope", sa.LargeBinary()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("bodystructure", sa.LargeBinary()),
        sa.Column("parts", sa.LargeBinary()),
        sa.Column("header_size", sa.Integer()),
        sa.Column("sender_name", sa.Text()),
        sa.Column("sender_address", sa.Text()),
        sa.Column("recipients", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("date", sa.Float()),
        sa.Column("date_offset", sa.Integer()),
        sa.Column("message_id", sa.Text()),
        sa.Column("in_reply_to", sa.Text()),
        sa.Column("references_ids", sa.Text()),
        sa.Column("snippet", sa.Text()),
        sa.Column("has_attachment", sa.Integer(), server_default="0", nullable=False),
        sa.Column("text_complete", sa.Integer(), server_default="1", nullable=False),
        sa.Column("bare_newlines", sa.Integer(), server_default="0", nullable=False),
        sa.Column("text", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_content"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_content_message_id", "content", ["message_id"])
    op.create_index("ix_content_in_reply_to", "content", ["in_reply_to"])
    op.create_index("ix_content_incomplete", "content", ["id"], sqlite_where=sa.text("text_complete = 0"))
    op.create_table(
        "domain",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_domain"),
        sa.UniqueConstraint("name", name="uq_domain_name"),
    )
    op.create_table(
        "queue",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Integer()),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary()),
        sa.Column("spool", sa.Text()),
        sa.Column("smtputf8", sa.Integer(), server_default="0", nullable=False),
        sa.Column("copy_id", sa.Integer()),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_queue"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_queue_status", "queue", ["status", "created"])
    op.create_index("ix_queue_copy_id", "queue", ["copy_id"], sqlite_where=sa.text("copy_id IS NOT NULL"))
    op.create_table(
        "removal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_removal"),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secret"),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name="fk_account_domain_id_domain"),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("address", name="uq_account_address"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_account_domain_id", "account", ["domain_id"])
    op.create_table(
        "subscription",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_subscription_account_id_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "name", name="pk_subscription"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue_recipient",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("queue_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Integer()),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt", sa.Float(), server_default="0", nullable=False),
        sa.Column("last_reply", sa.Text()),
        sa.ForeignKeyConstraint(["queue_id"], ["queue.id"], name="fk_queue_recipient_queue_id_queue", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_queue_recipient"),
    )
    op.create_index("ix_queue_recipient_due", "queue_recipient", ["status", "next_attempt"])
    op.create_index("ix_queue_recipient_queue_id", "queue_recipient", ["queue_id"])
    op.create_table(
        "conversation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_conversation_account_id_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_conversation"),
    )
    op.create_index("ix_conversation_latest", "conversation", ["account_id", "updated"])
    op.create_table(
        "mailbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("special_use", sa.Text()),
        sa.Column("uidvalidity", sa.Integer(), nullable=False),
        sa.Column("uidnext", sa.Integer(), server_default="1", nullable=False),
        sa.Column("highest_modseq", sa.Integer(), server_default="1", nullable=False),
        sa.Column("first_recent_uid", sa.Integer(), server_default="1", nullable=False),
        sa.Column("messages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unseen", sa.Integer(), server_default="0", nullable=False),
        sa.Column("size", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_mailbox_account_id_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_mailbox"),
        sa.UniqueConstraint("account_id", "name", name="uq_mailbox_account_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("scopes", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float()),
        sa.Column("revoked", sa.Float()),
        sa.Column("last_used", sa.Float()),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_token_account_id_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.UniqueConstraint("digest", name="uq_token_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_token_account_id", "token", ["account_id"])
    op.create_table(
        "approval",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("tainted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("decided", sa.Float()),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_approval_conversation_id_conversation", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_approval"),
    )
    op.create_index("ix_approval_conversation_id", "approval", ["conversation_id"])
    op.create_table(
        "event",
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_event_conversation_id_conversation", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("conversation_id", "number", name="pk_event"),
    )
    op.create_table(
        "expunged",
        sa.Column("mailbox_id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("modseq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailbox.id"], name="fk_expunged_mailbox_id_mailbox", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mailbox_id", "uid", name="pk_expunged"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_expunged_modseq", "expunged", ["mailbox_id", "modseq"])
    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("mailbox_id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("content_id", sa.Integer(), nullable=False),
        sa.Column("modseq", sa.Integer(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.Column("keywords", sa.Text(), server_default="", nullable=False),
        sa.Column("internal_date", sa.Float(), nullable=False),
        sa.Column("internal_offset", sa.Integer(), server_default="0", nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Integer()),
        sa.Column("saved", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_message_account_id_account", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["content_id"], ["content.id"], name="fk_message_content_id_content"),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailbox.id"], name="fk_message_mailbox_id_mailbox", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sa.UniqueConstraint("mailbox_id", "uid", name="uq_message_mailbox_id_uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_message_content_id", "message", ["content_id"])
    op.create_index("ix_message_newest", "message", ["mailbox_id", "internal_date", "id"])
    op.create_index("ix_message_newest_of_all", "message", ["account_id", "internal_date", "id"])
    op.create_index("ix_message_thread", "message", ["account_id", "thread_id"])
    op.create_index("ix_message_unread", "message", ["mailbox_id"], sqlite_where=sa.text("flags & 1 = 0"))
    op.create_index("ix_message_modseq", "message", ["mailbox_id", "modseq"])
