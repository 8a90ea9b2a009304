-- The tables of matching_report.sql, after CALL people.run().
\pset footer off
\echo '-- Duplicates in lists: pairs found by keys, at the shipped threshold. certain_wrong: links of two people.'
SELECT dataset, via, truth, candidates, completeness, best_f1, round(best_threshold::numeric, 1) AS at_bits, "precision", recall, f1,
       wrong, missed, certain_right, certain_wrong
FROM people.summary_clusters ORDER BY 1, 2;
\echo '-- The same: pairs by grade'
SELECT dataset, via, certain_right, certain_wrong, probable_right, probable_wrong, possible_right, possible_wrong
FROM people.summary_clusters ORDER BY 1, 2;
\echo '-- Pairs judged by people: three classes. best_accuracy: of any two thresholds on the score alone.'
SELECT * FROM people.summary_pairs ORDER BY 1, 2;
\echo '-- Against the targets'
SELECT * FROM people.against_targets;
