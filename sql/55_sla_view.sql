-- sla_view: what the views of the service levels compute

CREATE FUNCTION referral.as_of() RETURNS timestamptz
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'as_of';
COMMENT ON FUNCTION referral.as_of() IS
'The time that the views of the service levels and of ageing tell of: the setting referral.as_of, or now() when it is empty. Never null. 22007 when the setting is no time, RF018 when it is infinite.';

CREATE FUNCTION referral.clock_elapsed(calendar referral.calendar, consumed interval, running_since timestamptz, at timestamptz) RETURNS interval
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_elapsed';
COMMENT ON FUNCTION referral.clock_elapsed(referral.calendar, interval, timestamptz, timestamptz) IS
'Open time that a clock has used: consumed (hours and below) and what the calendar was open from running_since to at. Null where the calendar does not reach so far, where business_elapsed() raises an error, and for null.';

CREATE FUNCTION referral.clock_reaches(calendar referral.calendar, start timestamptz, open_time interval) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_reaches';
COMMENT ON FUNCTION referral.clock_reaches(referral.calendar, timestamptz, interval) IS
'When so much open time (hours and below) has gone by since start. Null where the calendar does not reach so far, where due_at() raises an error, and for null.';

CREATE FUNCTION referral.aging_bucket(age interval) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'aging_bucket';
COMMENT ON FUNCTION referral.aging_bucket(interval) IS
'Whole days of an age as one of 0-3, 4-7, 8-14, 15-30, >30; a month is 30 days, a negative age 0-3. Null for null.';

-- PL/pgSQL, because the privilege is asked before the journal is touched.
CREATE FUNCTION referral.held_at(org_id bigint, entity text, entity_id bigint, at timestamptz, OUT step text, OUT actor text)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT has_table_privilege('referral.journal', 'SELECT') THEN
        RETURN;
    END IF;
    SELECT j.to_step INTO step FROM referral.journal j
    WHERE j.org_id = held_at.org_id AND j.entity_id = held_at.entity_id AND j.entity = held_at.entity
      AND j.to_step IS NOT NULL AND j.occurred_at <= held_at.at
    ORDER BY j.occurred_at DESC, j.journal_id DESC LIMIT 1;
    SELECT j.actor INTO actor FROM referral.journal j
    WHERE j.org_id = held_at.org_id AND j.entity_id = held_at.entity_id AND j.entity = held_at.entity
      AND j.occurred_at <= held_at.at
    ORDER BY j.occurred_at DESC, j.journal_id DESC LIMIT 1;
END $$;
COMMENT ON FUNCTION referral.held_at(bigint, text, bigint, timestamptz) IS
'The step that a tracked row was at, and who had changed it last by then. Reads the journal with the caller''s rights; nulls for who may not read it, for a row without changes by then, and for null.';

-- A plan of its own, so that the partitions of the journal are chosen when it runs.
CREATE FUNCTION referral.last_event(org_id bigint, referral_id bigint, since timestamptz, until timestamptz,
                                    OUT at timestamptz, OUT what text, OUT actor text)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    SELECT e.occurred_at, e.what, e.actor INTO at, what, actor
    FROM (SELECT j.occurred_at, j.journal_id, coalesce(j.transition, j.action) AS what, j.actor FROM referral.journal j
          WHERE j.org_id = last_event.org_id AND j.entity_id = last_event.referral_id AND j.entity = 'referral'
            AND j.recorded_at > last_event.since AND j.occurred_at > last_event.since AND j.occurred_at <= last_event.until
            -- that it escalates does not mean that somebody works on it
            AND NOT (j.actor_kind = 'system' AND j.to_step IS NULL AND j.changes ? 'priority' AND j.changes - 'priority' = '{}')
          UNION ALL
          SELECT j.occurred_at, j.journal_id, j.entity || ' ' || coalesce(j.transition, j.action), j.actor
          FROM (SELECT 'document' AS entity, d.document_id AS id FROM referral.document d
                WHERE d.org_id = last_event.org_id AND d.referral_id = last_event.referral_id
                UNION ALL
                SELECT 'consult_report', d.consult_report_id FROM referral.consult_report d
                WHERE d.org_id = last_event.org_id AND d.referral_id = last_event.referral_id
                UNION ALL
                SELECT 'appointment', d.appointment_id FROM referral.appointment d
                WHERE d.org_id = last_event.org_id AND d.referral_id = last_event.referral_id
                UNION ALL
                SELECT 'prior_authorization', d.prior_authorization_id FROM referral.prior_authorization d
                WHERE d.org_id = last_event.org_id AND d.referral_id = last_event.referral_id
                UNION ALL
                SELECT 'communication', d.communication_id FROM referral.communication d
                WHERE d.org_id = last_event.org_id AND d.referral_id = last_event.referral_id
                UNION ALL
                SELECT 'contact_attempt', d.contact_attempt_id FROM referral.contact_attempt d
                WHERE d.org_id = last_event.org_id AND d.referral_id = last_event.referral_id) p
          JOIN referral.journal j ON j.org_id = last_event.org_id AND j.entity_id = p.id AND j.entity = p.entity
          WHERE j.recorded_at > last_event.since AND j.occurred_at > last_event.since AND j.occurred_at <= last_event.until) e
    ORDER BY e.occurred_at DESC, e.journal_id DESC LIMIT 1;
END $$;
COMMENT ON FUNCTION referral.last_event(bigint, bigint, timestamptz, timestamptz) IS
'The last thing that the journal tells of a referral, or of one of its documents, reports, appointments, authorizations, communications and contact attempts, after since and up to until (event times): when, what (the transition, else insert, update, …; after the name of the table where it is not the referral''s own), and who; a priority that a system has raised, as tick() does, does not count. Reads with the caller''s rights, and only the partitions of the journal written after since. Nulls when there is nothing, and for null.';
