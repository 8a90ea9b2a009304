-- referral_case: what can be done with a referral, in words

CREATE FUNCTION referral.case_actions(org_id bigint, referral_id bigint, OUT next_actions text[], OUT blocked_actions text[])
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(t.transition ORDER BY t.place) FILTER (WHERE t.open), '{}'),
           coalesce(array_agg(t.transition || ': ' || t.why ORDER BY t.place) FILTER (WHERE NOT t.open AND t.why IS NOT NULL), '{}')
    FROM (SELECT n.transition, min(n.ordinality) AS place, bool_or(n.allowed) AS open,
                 min(array_to_string(n.blocked_by, ', ')) AS why
          FROM referral.next_transitions('referral', case_actions.org_id, case_actions.referral_id) WITH ORDINALITY n
          GROUP BY n.transition) t
$$;
COMMENT ON FUNCTION referral.case_actions(bigint, bigint) IS
'What this session may do with a referral now (names of transitions, the most likely one first), and what is blocked by what, as next_transitions() tells it. RF019 when the referral does not exist or is not visible. Nulls for null.';
