"""How Alembic runs the migrations: on the connection that gk.core.database opened, inside its transaction."""

from alembic import context

from gk.core.schema import metadata

connection = context.config.attributes["connection"]
# The caller has begun the transaction and commits it: all migrations are done, or none is.
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False, render_as_batch=True)
context.run_migrations()
