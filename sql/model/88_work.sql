-- Which tables' rows can be work. The name sorts after those of journal and sla_clock.
DO $do$
DECLARE
    e record;
BEGIN
    FOR e IN SELECT x.* FROM referral.entity x
             WHERE x.entity IN ('referral', 'exception_item', 'extraction', 'document_classification', 'approval_request') LOOP
        PERFORM referral.lay_trigger(e.relation, 'work', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', format('referral.work(%L, %L)', e.entity, e.id_column));
    END LOOP;
END $do$;
-- referrals of before there was any work
SELECT referral.open_missing_work();
