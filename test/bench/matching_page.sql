-- The tables of docs/matching_accuracy.md, after CALL people.run() and, for the last, matching_leave_out.sql.
\pset format unaligned
\pset tuples_only on
\pset null ''
\echo '| people | records | pairs of one person | found by keys | F1 | precision | recall | best F1 | at |'
\echo '|---|---|---|---|---|---|---|---|---|'
SELECT format('| %s%s | %s | %s | %s%% | **%s** | %s | %s | %s | %s |', s.dataset, CASE s.via WHEN 'full' THEN '' ELSE ', ' || s.via END,
              to_char((SELECT count(*) FROM people.raw r WHERE r.dataset = s.dataset), 'FM999,999'), to_char(s.truth, 'FM999,999'),
              round(100 * s.completeness, 2), round(s.f1, 5), round(s."precision", 5), round(s.recall, 5), round(s.best_f1, 5),
              round(s.best_threshold::numeric, 1) || ' bits')
FROM people.summary_clusters s WHERE s.dataset <> 'twins'
ORDER BY s.dataset IN ('archive', 'hard', 'register', 'world'), s.dataset, s.via <> 'full', s.via;
\echo
\echo '| people | certain: right | wrong | probable: right | wrong | possible: right | wrong |'
\echo '|---|---|---|---|---|---|---|'
SELECT format('| %s | %s | **%s** | %s | %s | %s | %s |', s.dataset, to_char(s.certain_right, 'FM999,990'), s.certain_wrong,
              to_char(s.probable_right, 'FM999,990'), s.probable_wrong, to_char(s.possible_right, 'FM999,990'), s.possible_wrong)
FROM people.summary_clusters s WHERE s.via = 'full' ORDER BY s.dataset IN ('archive', 'hard', 'register', 'twins', 'world'), s.dataset;
\echo
\echo '| pairs | values | three classes right | Match: F1 | precision | recall | Not a Match graded certain | graded certain or probable | Match graded certainly-not |'
\echo '|---|---|---|---|---|---|---|---|---|'
SELECT format('| %s | %s | **%s** | %s | %s | %s | **%s** | %s | %s |', s.dataset, s.via, s.accuracy, s.match_f1, s."precision", s.recall,
              s.not_graded_certain, s.not_graded_match, s.match_graded_not)
FROM people.summary_pairs s ORDER BY s.dataset, s.via <> 'full', s.via DESC;
\echo
\echo '| left out | best F1 | F1 at even odds | the shipped model: best F1 | F1 |'
\echo '|---|---|---|---|---|'
SELECT CASE WHEN to_regproc('people.left_out') IS NOT NULL THEN 'true' ELSE 'false' END AS left_out_is_there \gset
\if :left_out_is_there
SELECT format('| %s | %s | %s | %s | %s |', s.dataset, round(l.best_f1, 5), round(l.f1, 5), round(s.best_f1, 5), round(s.f1, 5))
FROM people.summary_clusters s, people.left_out(s.dataset) l WHERE s.via = 'full' AND s.dataset <> 'twins'
ORDER BY s.dataset IN ('archive', 'hard', 'register', 'world'), s.dataset;
\endif
