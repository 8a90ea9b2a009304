-- The index that find_matches() reads. Without fastupdate: a lookup would have to read what waits to be put in.
CREATE INDEX IF NOT EXISTS patient_demographics ON referral.patient USING gin (demographics referral.demographics_ops)
    WITH (fastupdate = off);
