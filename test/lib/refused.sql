-- For pgTAP files (\ir ../lib/refused.sql): what a statement is refused with. The statement is undone in any case.

CREATE FUNCTION refused(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text, OUT context text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    IF code = 'UNDO0' THEN
        code := 'done'; message := ''; detail := ''; hint := ''; context := '';
    END IF;
END $$;
COMMENT ON FUNCTION refused(text) IS 'SQLSTATE, message, detail, hint and context of a refused statement; code is "done" when it is not refused.';
