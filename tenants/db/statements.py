"""Whether a statement may leave something behind in its session: a setting, a role, a temporary table, a lock, a subscription.

Asked of each statement that a borrower runs, so that only a session with something in it is reset when it comes back. The answer errs
on one side: a statement is plain when each word before a parenthesis in it is known to leave nothing. All that the ORM writes is.
Whatever isn't (a function of your own, a comment, a statement that isn't a query) costs one round trip when the connection
is returned, and nothing else.

What can't be seen here: what a trigger, a view or a column's default calls. Those use `SET LOCAL`, `set_config(…, true)` and
`pg_advisory_xact_lock`, which end with the transaction.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Words that a query may begin with, those of a transaction, and SET in the forms that end with one.
_PLAIN_START = re.compile(
    r"[\s(]*(?:select|insert\s+into|update|delete\s+from|with|values|merge\s+into|copy|fetch|move"
    r"|begin|start\s+transaction|commit|rollback|savepoint|release|lock\s+table|show"
    r"|set\s+local|set\s+constraints|set\s+transaction)\b",
    re.IGNORECASE,
)
# A second statement, a comment (which may stand between a name and its parenthesis), or a query that makes a table.
_NEVER_PLAIN = re.compile(r";|--|/\*|(?<!insert )(?<!merge )\binto\b|\bu&\"", re.IGNORECASE)
# What stands before each opening parenthesis: a name in quotes or without, or something that calls nothing.
_BEFORE_PARENTHESIS = re.compile(r'("(?:[^"]|"")*"|[\w$.]*)\s*\(')
# The one place where a name in quotes stands before a parenthesis without being called: a table with its columns.
_COLUMNS = re.compile(r'\s*(?:insert\s+into|copy)\s+(?:"(?:[^"]|"")*"\.)?"(?:[^"]|"")*"\s*\(', re.IGNORECASE)

_HARMLESS = frozenset(
    """
    all and any array as between by case conflict cube distinct else end except exists filter from grouping having in
    intersect interval is join key lateral like ilike limit materialized not nothing nulls of offset on only or
    over partition recursive returning rollup rows select sets set similar some then to union using values when where within with
    bigint bit bpchar char character decimal float integer numeric time timestamp varchar varying
    cast coalesce extract greatest least nullif overlay position row substring treat trim xmlelement

    abs acos asin atan atan2 cbrt ceil ceiling cos cot degrees exp floor ln log mod pi power radians random round sign sin
    sqrt tan trunc width_bucket
    ascii btrim char_length chr concat concat_ws encode decode format initcap left length lower lpad ltrim md5 octet_length
    quote_ident quote_literal repeat replace reverse right rpad rtrim sha224 sha256 sha384 sha512 split_part starts_with strpos
    substr to_hex translate upper unaccent regexp_count regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table similarity word_similarity strict_word_similarity
    age clock_timestamp date date_part date_trunc isfinite justify_days justify_hours justify_interval make_date make_interval
    make_time make_timestamp make_timestamptz now statement_timestamp timezone to_char to_date to_number to_timestamp
    transaction_timestamp uuidv4 uuidv7 gen_random_uuid
    array_agg array_append array_cat array_length array_position array_prepend array_remove array_to_string cardinality
    generate_series string_to_array unnest
    json_agg json_array_length json_build_array json_build_object json_object_agg jsonb_agg jsonb_array_elements
    jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
    jsonb_object_agg jsonb_object_keys jsonb_path_exists jsonb_path_query jsonb_set jsonb_strip_nulls jsonb_to_recordset
    jsonb_typeof row_to_json to_json to_jsonb
    avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every max min mode percentile_cont percentile_disc
    regr_slope stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
    daterange int4range int8range isempty lower_inc numrange tsrange tstzrange upper_inc
    phraseto_tsquery plainto_tsquery setweight to_tsquery to_tsvector ts_headline ts_rank ts_rank_cd websearch_to_tsquery
    current_database current_schema current_setting pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_backend_pid
    pg_column_size pg_current_wal_lsn pg_current_xact_id pg_database_size pg_is_in_recovery pg_last_wal_replay_lsn pg_sleep
    pg_total_relation_size pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_wal_lsn_diff pg_walfile_name to_regclass
    pg_control_system version hashtext hashtextextended
    """.split()  # noqa: SIM905  a text of words reads better than two hundred strings
)


@lru_cache(maxsize=2048)
def is_plain(statement: str) -> bool:
    """Whether `statement` surely leaves nothing in the session. False means: perhaps it does."""
    if not _PLAIN_START.match(statement) or _NEVER_PLAIN.search(statement):
        return False
    columns = _COLUMNS.match(statement)
    for before in _BEFORE_PARENTHESIS.finditer(statement, columns.end() if columns else 0):
        name = before[1]
        if name and name.lower().removeprefix("pg_catalog.") not in _HARMLESS:
            return False
    return True
