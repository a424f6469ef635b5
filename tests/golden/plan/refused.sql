SELECT age FROM gbsg2
-- PlanInvalid: column 'age' must be in GROUP BY or inside an aggregate such as AVG; single rows never leave their owners

SELECT * FROM gbsg2
-- PlanUnsupported: rows never leave their owners; name the aggregates that you want

SELECT g.* FROM gbsg2 g
-- PlanUnsupported: rows never leave their owners; name the aggregates that you want

SELECT COUNT(DISTINCT age) FROM gbsg2
-- PlanUnsupported: DISTINCT needs rows of different owners to meet; GROUP BY the column and count the groups instead

SELECT COUNT(DISTINCT pid) FROM visits
-- PlanUnsupported: DISTINCT needs rows of different owners to meet; GROUP BY the column and count the groups instead

SELECT COUNT(pid) FROM visits
-- PlanUnsupported: visits.pid tells persons apart; it may be joined on and appear nowhere else

SELECT COUNT(*) FROM visits WHERE pid = 7
-- PlanUnsupported: visits.pid tells persons apart; it may be joined on and appear nowhere else

SELECT pid, COUNT(*) FROM visits GROUP BY pid
-- PlanUnsupported: visits.pid tells persons apart; it may be joined on and appear nowhere else

SELECT AVG(crp) FROM visits WHERE pid IN (1,2)
-- PlanUnsupported: visits.pid tells persons apart; it may be joined on and appear nowhere else

SELECT MIN(age) FROM gbsg2
-- PlanUnsupported: MIN shows one person's value; use AVG, STDDEV_SAMP or a GROUP BY over bands

SELECT MEDIAN(age) FROM gbsg2
-- PlanUnsupported: MEDIAN is not answered yet; use AVG, or counts GROUP BY bands

SELECT quantile_cont(age, 0.5) FROM gbsg2
-- PlanUnsupported: quantiles are not answered yet; use AVG, or counts GROUP BY bands

SELECT age, SUM(tsize) OVER () FROM gbsg2
-- PlanUnsupported: window functions are not answered; aggregate with GROUP BY instead

SELECT COUNT(*) FROM (SELECT * FROM gbsg2)
-- PlanUnsupported: subqueries are not answered; write one SELECT over tables

WITH x AS (SELECT 1) SELECT COUNT(*) FROM x
-- PlanUnsupported: WITH is not answered; write one SELECT over tables

SELECT COUNT(*) FROM gbsg2 UNION SELECT COUNT(*) FROM visits
-- PlanUnsupported: UNION, EXCEPT and INTERSECT are not answered; ask each SELECT by itself

SELECT COUNT(*) FROM gbsg2; DROP TABLE gbsg2
-- PlanInvalid: a request is exactly one SELECT

DROP TABLE gbsg2
-- PlanInvalid: a request is exactly one SELECT; this one starts with DROP

COPY gbsg2 TO 'x.csv'
-- PlanInvalid: a request is exactly one SELECT; this one starts with COPY

SELECT COUNT(*) FROM read_csv('/etc/passwd')
-- PlanUnsupported: READ_CSV is not answered

SELECT COUNT(*) FROM '/etc/passwd'
-- PlanInvalid: there is no table '/etc/passwd'

SELECT getenv('HOME') FROM gbsg2
-- PlanUnsupported: function getenv() is not answered

SELECT COUNT(*) FROM gbsg2 WHERE now() > DATE '2020-01-01'
-- PlanUnsupported: nothing in a request may read the clock; write the day, such as DATE '2026-01-31'

SELECT COUNT(*) FROM visits WHERE day < current_date
-- PlanUnsupported: nothing in a request may read the clock; write the day, such as DATE '2026-01-31'

SELECT COUNT(*) FROM nothing
-- PlanInvalid: there is no table 'nothing'

SELECT COUNT(*) FROM gbsg
-- PlanInvalid: there is no table 'gbsg'

SELECT COUNT(agee) FROM gbsg2
-- PlanInvalid: there is no column 'agee'; did you mean 'age'?

SELECT COUNT(*) FROM gbsg2 WHERE menostat = 'post'
-- PlanInvalid: 'post' is no level of gbsg2.menostat; did you mean 'Post'?

SELECT COUNT(*) FROM gbsg2 WHERE menostat = 'xyzzy'
-- PlanInvalid: 'xyzzy' is no level of gbsg2.menostat; its levels are 'Post', 'Pre'

SELECT COUNT(*) FROM gbsg2 WHERE menostat = 3
-- PlanInvalid: text is compared with a number; write its level in quotes

SELECT COUNT(*) FROM gbsg2 WHERE age = '3'
-- PlanInvalid: text is compared with a number; write a number without quotes

SELECT COUNT(*) FROM gbsg2 WHERE age / tsize > 2
-- PlanUnsupported: within a row only a constant may divide; divide aggregates instead, such as SUM(x) / SUM(y)

SELECT SUM(age / tsize) FROM gbsg2
-- PlanUnsupported: within a row only a constant may divide; divide aggregates instead, such as SUM(x) / SUM(y)

SELECT SUM(age / 0) FROM gbsg2
-- PlanInvalid: division by zero

SELECT SUM(age // 10) FROM gbsg2
-- PlanUnsupported: this argument of an aggregate is not answered: TruncateDivide is not allowed in what is summed; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(abs(age - 50)) FROM gbsg2
-- PlanUnsupported: this argument of an aggregate is not answered: Case is not allowed in what is summed; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(age % 2) FROM gbsg2
-- PlanUnsupported: this argument of an aggregate is not answered: TruncateDivide is not allowed in what is summed; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(age > 50) FROM gbsg2
-- PlanUnsupported: SUM of a condition; write COUNT(*) FILTER (WHERE ...)

SELECT AVG(CASE WHEN age > 50 THEN 1 WHEN age > 40 THEN 2 ELSE 3 END) FROM gbsg2
-- PlanUnsupported: a CASE inside an aggregate is answered as SUM(CASE WHEN c THEN x END), or with ELSE and a constant; otherwise write one aggregate per case with FILTER (WHERE c), or GROUP BY the CASE

SELECT CORR(CASE WHEN age > 50 THEN 1 ELSE 0 END, tsize) FROM gbsg2
-- PlanUnsupported: a CASE inside an aggregate is answered as SUM(CASE WHEN c THEN x END), or with ELSE and a constant; otherwise write one aggregate per case with FILTER (WHERE c), or GROUP BY the CASE

SELECT SUM(COALESCE(crp, 0)) FROM visits
-- PlanUnsupported: this argument of an aggregate is not answered: Case is not allowed in what is summed; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(tsize * tsize * tsize) FROM gbsg2
-- PlanUnsupported: this argument of an aggregate is not answered: more than 2 columns are multiplied, or a power above 2 is taken; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT VAR_SAMP(tsize * tsize) FROM gbsg2
-- PlanUnsupported: this argument of an aggregate is not answered: more than 2 columns are multiplied, or a power above 2 is taken; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(ROUND(temp)) FROM visits
-- PlanUnsupported: this argument of an aggregate is not answered: Case is not allowed in what is summed; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(year(day)) FROM visits
-- PlanUnsupported: this argument of an aggregate is not answered: DatePart is not allowed in what is summed; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT SUM(horTh) FROM gbsg2
-- PlanInvalid: SUM needs a number, not text

SELECT SUM(day) FROM visits
-- PlanInvalid: SUM needs a number, not a date

SELECT AVG(icu) FROM visits
-- PlanInvalid: AVG needs a number, not a truth value; write CAST(... AS INTEGER)

SELECT DISTINCT horTh FROM gbsg2
-- PlanUnsupported: SELECT DISTINCT is not answered; GROUP BY the columns instead

SELECT age, tsize, pnodes, COUNT(*) FROM gbsg2 GROUP BY age, tsize, pnodes
-- PlanUnsupported: GROUP BY would make 83 (age) * 151 (tsize) * 61 (pnodes) = 764513 cells; at most 20000 are answered. Group by wider bands, such as age // 10 * 10

SELECT progrec * estrec, COUNT(*) FROM gbsg2 GROUP BY 1
-- PlanUnsupported: GROUP BY would make 4500001 (progrec * estrec) = 4500001 cells; at most 20000 are answered. Group by wider bands, such as age // 10 * 10

SELECT horTh, age, COUNT(*) FROM gbsg2 GROUP BY horTh
-- PlanInvalid: column 'age' must be in GROUP BY or inside an aggregate such as AVG; single rows never leave their owners

SELECT COUNT(*) AS n, n + 1 FROM gbsg2
-- PlanUnsupported: 'n' is another item of the select list; repeat its expression here

SELECT horTh AS h, h, COUNT(*) FROM gbsg2 GROUP BY 1, 2
-- PlanUnsupported: 'h' is another item of the select list; repeat its expression here

SELECT COUNT(*) FROM gbsg2 GROUP BY 5
-- PlanInvalid: GROUP BY has position 5, but there are 1 columns, counted from 1

SELECT COUNT(*) FROM gbsg2 GROUP BY COUNT(*)
-- PlanInvalid: GROUP BY cannot take an aggregate

SELECT COUNT(*) FROM gbsg2 WHERE COUNT(*) > 3
-- PlanInvalid: COUNT cannot stand inside another aggregate, in WHERE or in GROUP BY

SELECT SUM(AVG(age)) FROM gbsg2
-- PlanInvalid: AVG cannot stand inside another aggregate, in WHERE or in GROUP BY

SELECT COUNT(*) FROM gbsg2 LIMIT 50%
-- PlanUnsupported: LIMIT takes a number of rows

SELECT COUNT(*) FROM gbsg2 LIMIT 1 + 1
-- PlanUnsupported: LIMIT takes a number of rows

SELECT COUNT(*) FROM gbsg2, visits
-- PlanUnsupported: only JOIN and LEFT JOIN with ON or USING are answered

SELECT COUNT(*) FROM gbsg2 CROSS JOIN visits
-- PlanUnsupported: only JOIN and LEFT JOIN with ON or USING are answered

SELECT COUNT(*) FROM visits NATURAL JOIN patients
-- PlanUnsupported: only JOIN and LEFT JOIN with ON or USING are answered

SELECT COUNT(*) FROM visits FULL JOIN patients USING (pid)
-- PlanUnsupported: only JOIN and LEFT JOIN with ON or USING are answered

SELECT COUNT(*) FROM visits a JOIN visits b ON a.los = b.los
-- PlanUnsupported: tables visits and visits both have a person id; join them ON visits.pid = visits.pid, so that each row is about one person

SELECT COUNT(*) FROM visits a JOIN patients b ON a.los = b.born
-- PlanUnsupported: tables visits and patients both have a person id; join them ON visits.pid = patients.pid, so that each row is about one person

SELECT COUNT(*) FROM visits a JOIN patients b ON a.pid = b.pid AND a.los > 3
-- PlanUnsupported: ON takes equalities of columns, joined by AND; put other conditions into WHERE

SELECT COUNT(*) FROM visits a JOIN patients b ON a.pid < b.pid
-- PlanUnsupported: ON takes equalities of columns, joined by AND; put other conditions into WHERE

SELECT COUNT(*) FROM visits a JOIN gbsg2 b ON a.los = b.age
-- PlanUnsupported: table gbsg2 has no person id, so it joins only on a column that the roster declares unique

SELECT COUNT(*) FROM visits JOIN wards ON visits.ward = wards.beds
-- PlanInvalid: columns visits.ward and wards.beds cannot be joined: the roster declares different types, decimals or levels

SELECT COUNT(los) FROM visits a JOIN visits b ON a.pid = b.pid
-- PlanInvalid: column 'los' is in several tables; write a.los or b.los

SELECT COUNT(*) FROM visits a JOIN patients a USING (pid)
-- PlanInvalid: two tables have the same name; give each its own alias

SELECT COUNT(*) FROM gbsg2 WHERE age > 50 = TRUE
-- PlanUnsupported: put parentheses around the conditions, and join them with AND, OR and NOT

SELECT COUNT(*) FROM gbsg2 WHERE age IS DISTINCT FROM 3
-- PlanUnsupported: IS DISTINCT FROM is not answered; write x <> y OR x IS NULL OR y IS NULL as it is meant

SELECT COUNT(*) FROM gbsg2 WHERE (age, tsize) = (1, 2)
-- PlanUnsupported: rows of values are not compared; compare the columns one by one with AND

SELECT COUNT(*) FROM gbsg2 WHERE age IN (SELECT age FROM gbsg2)
-- PlanUnsupported: subqueries are not answered; list the values

SELECT COUNT(*) FROM gbsg2 WHERE EXISTS (SELECT 1)
-- PlanUnsupported: subqueries are not answered; write one SELECT over tables

SELECT COUNT(*) FROM gbsg2 TABLESAMPLE 10%
-- PlanUnsupported: samples are not answered

SELECT COUNT(*) FROM gbsg2 WHERE age = $1
-- PlanUnsupported: parameters are not answered; write the value

SELECT COUNT(*) FROM gbsg2 WHERE age = ?
-- PlanUnsupported: parameters are not answered; write the value

SELECT COUNT(*) FROM gbsg2 GROUP BY CUBE (horTh)
-- PlanUnsupported: CUBE, ROLLUP and GROUPING SETS are not answered; ask for each grouping by itself

SELECT COUNT(*) FROM gbsg2 GROUP BY GROUPING SETS ((horTh), ())
-- PlanUnsupported: CUBE, ROLLUP and GROUPING SETS are not answered; ask for each grouping by itself

SELECT horTh || menostat, COUNT(*) FROM gbsg2 GROUP BY 1
-- PlanUnsupported: text cannot be put together; GROUP BY the columns themselves

SELECT upper(horTh), COUNT(*) FROM gbsg2 GROUP BY 1
-- PlanUnsupported: UPPER is not answered

SELECT random(), COUNT(*) FROM gbsg2
-- PlanUnsupported: random functions are not answered

SELECT 1
-- PlanInvalid: FROM is missing; name a table of the roster

SELECT COUNT(*)
-- PlanInvalid: FROM is missing; name a table of the roster

SELECT 1 FROM gbsg2
-- PlanUnsupported: rows never leave their owners; ask for aggregates, such as COUNT(*) or AVG(...), or GROUP BY a column

SELECT AVG(age) > 3 FROM gbsg2
-- PlanUnsupported: a condition is no column of an answer; use it in HAVING, or GROUP BY it

SELECT COUNT(*) FROM main.gbsg2
-- PlanUnsupported: tables are named without a schema

SELECT COUNT(*) FROM gbsg2 FOR UPDATE
-- PlanUnsupported: a request only reads

SELECT first(age) FROM gbsg2
-- PlanUnsupported: FIRST is not answered

SELECT arg_max(age, tsize) FROM gbsg2
-- PlanUnsupported: ARG_MAX is not answered

SELECT list(age) FROM gbsg2
-- PlanUnsupported: ARRAYAGG is not answered

SELECT string_agg(horTh) FROM gbsg2
-- PlanUnsupported: GROUPCONCAT is not answered

SELECT SUM(age ORDER BY tsize) FROM gbsg2
-- PlanUnsupported: ORDER BY inside an aggregate is not answered

SELECT SUM(DISTINCT age) FROM gbsg2
-- PlanUnsupported: DISTINCT needs rows of different owners to meet; GROUP BY the column and count the groups instead

SELECT COUNT(*) FROM visits WHERE day > '2020-13-01'
-- PlanInvalid: '2020-13-01' is not a date; dates read YYYY-MM-DD

SELECT COUNT(*) FROM visits WHERE day > 'yesterday'
-- PlanInvalid: 'yesterday' is not a date; dates read YYYY-MM-DD

SELECT COUNT(*) FROM visits WHERE day + los > 3
-- PlanInvalid: a date is needed here, not a number

SELECT year(day + 99999999), COUNT(*) FROM visits GROUP BY 1
-- RangeTooWide: a date could leave the years 1 to 9999 from the declared bounds

SELECT COUNT(*) FROM gbsg2 WHERE age > 1e99
-- PlanInvalid: '1e99' is outside the numbers that are computed with

SELECT COUNT(*) FROM gbsg2 WHERE regexp_matches(horTh, '.*')
-- PlanUnsupported: regular expressions are not answered; use LIKE or IN on a dictionary column

SELECT SUM(CASE WHEN icu THEN crp ELSE 0 END) FROM visits
-- PlanUnsupported: the column after THEN may be NULL; a CASE inside an aggregate is answered as SUM(CASE WHEN c THEN x END), or with ELSE and a constant; otherwise write one aggregate per case with FILTER (WHERE c), or GROUP BY the CASE

SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh HAVING age > 3
-- PlanInvalid: column 'age' must be in GROUP BY or inside an aggregate such as AVG; single rows never leave their owners

SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh HAVING horTh = 'maybe'
-- PlanInvalid: 'maybe' is no level of the group key; its levels are 'no', 'yes'

SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh ORDER BY age
-- PlanInvalid: column 'age' must be in GROUP BY or inside an aggregate such as AVG; single rows never leave their owners

SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh ORDER BY ALL
-- PlanUnsupported: ORDER BY ALL is not answered; list the columns

SELECT columns('a.*') FROM gbsg2
-- PlanUnsupported: COLUMNS is not answered

SELECT COUNT(*) FROM gbsg2 QUALIFY row_number() OVER () = 1
-- PlanUnsupported: window functions are not answered; aggregate with GROUP BY instead

SELECT CASE WHEN COUNT(*) > 3 THEN 1 END FROM gbsg2
-- PlanUnsupported: CASE over aggregates is not answered; select the aggregates and decide afterwards

SELECT COUNT(NULL) FROM gbsg2
-- PlanInvalid: COUNT(NULL) is always 0

SELECT COUNT(*) FROM gbsg2 WHERE
-- PlanInvalid: the text cannot be read as SQL at line 1, column 32, near 'WHERE'

SELECT FROM gbsg2
-- PlanUnsupported: rows never leave their owners; ask for aggregates, such as COUNT(*) or AVG(...), or GROUP BY a column

SELECT COUNT(*) FROM gbsg2 WHERE age
-- PlanInvalid: a condition is needed here, not a number

SELECT COUNT(*) FROM gbsg2 WHERE 'x'
-- PlanInvalid: a condition is needed here, not text

SELECT SUM(smoker * born * smoker) FROM patients
-- PlanInvalid: * needs a number, not a truth value

EXPLAIN SELECT COUNT(*) FROM gbsg2
-- PlanInvalid: a request is exactly one SELECT; this one starts with EXPLAIN

PRAGMA database_list
-- PlanInvalid: a request is exactly one SELECT; this one starts with PRAGMA

SET memory_limit = '1TB'
-- PlanInvalid: a request is exactly one SELECT; this one starts with SET

ATTACH 'x.db'
-- PlanInvalid: a request is exactly one SELECT; this one starts with ATTACH

SELECT COUNT(*) FROM gbsg2 /* unclosed
-- PlanInvalid: the text cannot be read as SQL: a quote or comment is not closed

SELECT COUNT(*) FROM gbsg2 WHERE horTh = 'no''
-- PlanInvalid: the text cannot be read as SQL: a quote or comment is not closed

SELECT COUNT(*) FROM duckdb_settings()
-- PlanUnsupported: function duckdb_settings() is not answered

SELECT COUNT(*) FROM information_schema.tables
-- PlanUnsupported: tables are named without a schema

SELECT 'a' LIKE 'a', COUNT(*) FROM gbsg2
-- PlanUnsupported: a condition is no column of an answer; use it in HAVING, or GROUP BY it

SELECT COUNT(*) FROM gbsg2 WHERE horTh LIKE menostat
-- PlanUnsupported: LIKE takes a pattern in quotes

SELECT COUNT(*) FROM visits WHERE ward = (icu)
-- PlanInvalid: text is compared with a truth value; write its level in quotes

SELECT SUM(huge * other) FROM wide
-- RangeTooWide: an expression could reach 81129638414606681695789005144064 from the declared bounds; at most 9223372036854775807 is computed

SELECT SUM(huge * 1024 + other) FROM wide
-- RangeTooWide: an expression could reach 9223372036854775808 from the declared bounds; at most 9223372036854775807 is computed

SELECT COVAR_POP(huge * other, other) FROM wide
-- RangeTooWide: an expression could reach 81129638414606681695789005144064 from the declared bounds; at most 9223372036854775807 is computed

SELECT COUNT(*) FROM shared
-- PlanUnsupported: table shared is declared rows_disjoint = false: rows held by two owners would count twice

SELECT COUNT(*) FROM wards LEFT JOIN visits USING (ward)
-- PlanUnsupported: name table visits, which has the person id, first, and join wards to it on a column that the roster declares unique

SELECT COUNT(*) FROM visits a JOIN visits b USING (pid) JOIN visits c USING (pid) JOIN visits d USING (pid) JOIN visits e USING (pid)
-- PlanUnsupported: the join could make 31250000000000 rows at one owner from the declared rows_max; at most 4294967296 are allowed. Join on a column that the roster declares unique

SELECT COUNT(*) FROM visits JOIN foreign_table USING (pid)
-- PlanUnsupported: tables visits and foreign_table have different owners; only tables of the same owners join

SELECT SUM(b1 * b2 * b3 * b4) FROM bits
-- PlanUnsupported: this argument of an aggregate is not answered: more than 2 columns are multiplied, or a power above 2 is taken; GROUP BY the expression, or use FILTER (WHERE ...), so that the cells it tells apart are protected as cells

SELECT ward, COUNT(*) FROM visits GROUP BY ward HAVING CASE WHEN COUNT(*) > 3 THEN TRUE END
-- PlanUnsupported: CASE is not answered in HAVING; compare aggregates and group keys there

SELECT COUNT(*) FILTER (WHERE pid = 3) FROM visits
-- PlanUnsupported: visits.pid tells persons apart; it may be joined on and appear nowhere else

SELECT ROUND(AVG(age), tsize) FROM gbsg2
-- PlanUnsupported: ROUND takes a number of digits as its second argument

SELECT ROUND(AVG(age), 99) FROM gbsg2
-- PlanUnsupported: ROUND takes at most 15 digits

SELECT AVG(age)::INTEGER FROM gbsg2
-- PlanUnsupported: a cast to INT over aggregates is not answered; use ROUND, FLOOR or CEIL

SELECT SUM(temp) // 2 FROM visits
-- PlanUnsupported: // is answered between integers; use / and FLOOR

SELECT COUNT(*) FROM gbsg2 WHERE age // 0 > 1
-- PlanInvalid: // by zero

SELECT COUNT(*) FROM gbsg2 WHERE temp > 1
-- PlanInvalid: there is no column 'temp'

SELECT COUNT(*) FROM visits v WHERE visits.los > 1
-- PlanInvalid: there is no table 'visits' in FROM

SELECT COUNT(*) FROM gbsg2 AS t(a, b)
-- PlanUnsupported: the columns of a table keep their names

SELECT COUNT(*) FROM gbsg2 GROUP BY 'x'
-- PlanInvalid: GROUP BY takes columns and expressions over them, not constants

SELECT COUNT(*) FROM visits WHERE ward ~ 'i'
-- PlanUnsupported: regular expressions are not answered; use LIKE or IN on a dictionary column

SELECT COUNT(*) INTO x FROM gbsg2
-- PlanUnsupported: a request only reads

SELECT ((((((((((((((((((((((((((((((((((((((((COUNT(*))))))))))))))))))))))))))))))))))))))))) FROM gbsg2 WHERE NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT horTh = 'no'
-- PlanUnsupported: the SQL is nested too deeply; write it flatter

SELECT SUM(huge), VAR_POP(huge) FROM vast
-- RangeTooWide: a sum could reach 1045347431181122959759486794030391945592832: one row adds 0 to 81129638414606681695789005144064 from the declared bounds, times 12884901888 rows; the widest field holds less than 85070591730234615865843651857942052864 (2^126). Tighter bounds or a smaller rows_max in the roster would help

SELECT COUNT(*) FROM gbsg2 WHERE age > 3 AND AND
-- PlanInvalid: the text cannot be read as SQL at line 1, column 48, near 'AND'

SELECT SUM(age) FILTER (WHERE COUNT(*) > 3) FROM gbsg2
-- PlanInvalid: COUNT cannot stand inside another aggregate, in WHERE or in GROUP BY

SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE pnodes * (91 - age) = 0
-- PlanUnsupported: a condition multiplies columns; compare each column with constants, joined by AND and OR

SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE pnodes = 0 OR age = 91
-- PlanUnsupported: a condition mixes gbsg2.pnodes with other columns while gbsg2.pnodes is summed, so that a few people could be told apart; restrict gbsg2.pnodes by itself, joined by AND, or GROUP BY the mixed condition instead

SELECT SUM(age * tsize) FROM gbsg2 WHERE age % 51 = 40
-- PlanUnsupported: the conditions leave gaps between the values of gbsg2.age, which is summed too, so that a few people could be told apart; restrict it with < and >, or GROUP BY gbsg2.age instead

SELECT AVG(age) FROM gbsg2 WHERE age IN (40, 91)
-- PlanUnsupported: the conditions leave gaps between the values of gbsg2.age, which is summed too, so that a few people could be told apart; restrict it with < and >, or GROUP BY gbsg2.age instead

SELECT CORR(age, tsize) FROM gbsg2 WHERE age BETWEEN 90 AND 91
-- PlanUnsupported: the conditions leave gbsg2.age at most 3 values, and it is multiplied with another column: GROUP BY gbsg2.age instead

SELECT age // 2, AVG(age) FROM gbsg2 GROUP BY 1
-- PlanUnsupported: the group keys leave gbsg2.age at most 3 values in a group, and it is summed; GROUP BY gbsg2.age itself, or by wider bands

SELECT CASE WHEN age IN (40, 91) THEN 1 ELSE 2 END AS k, AVG(age) FROM gbsg2 GROUP BY k
-- PlanUnsupported: a group key puts values of gbsg2.age together that have others between them, and gbsg2.age is summed too; GROUP BY bands, such as gbsg2.age // 10, or by gbsg2.age itself

SELECT COUNT(crp), COUNT(temp), COUNT(ward), COUNT(day) FROM visits
-- PlanUnsupported: the outputs are about too many different sets of people, which could be subtracted from one another; ask for fewer at once (FILTERs, columns with missing values, columns of few values), GROUP BY the condition instead of FILTERs, or make all outputs about the same people with WHERE column IS NOT NULL
