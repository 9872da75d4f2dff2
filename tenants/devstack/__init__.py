"""Development servers of the checkout's own: Postgres with a streaming replica, Valkey, a MongoDB wire server.

Nothing here imports a model or needs a setting, so that `manage.py up` works where no environment exists yet and tests
can start servers of their own. Production never imports it: its servers come from the environment.
"""
