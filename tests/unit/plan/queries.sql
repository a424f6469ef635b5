-- Every query here is answered by three hospitals together exactly as DuckDB answers it over their pooled rows.
-- One query per line; a line that starts with `@wards` runs where one hospital alone has rows.
SELECT COUNT(*) FROM visits
SELECT COUNT(crp), COUNT(ward), COUNT("ph.ecog") FROM visits
SELECT COUNT(day), COUNT(icu) FROM visits
SELECT COUNT(crp), COUNT(ward), SUM(temp), AVG("ph.ecog"), COUNT(day), COUNT(icu) FROM visits WHERE crp IS NOT NULL AND temp < 50 AND ward IN ('icu', 'medicine') AND "ph.ecog" >= 1 AND day > DATE '2019-11-20' AND icu IS NOT NULL
SELECT SUM(crp), AVG(crp), SUM(los), AVG(los), SUM(temp) FROM visits
SELECT ward, COUNT(*), AVG(crp), STDDEV_SAMP(temp), CORR(crp, temp) FROM visits GROUP BY ward
SELECT VAR_SAMP(crp), VAR_POP(crp), VARIANCE(crp), STDDEV(crp), STDDEV_SAMP(crp), STDDEV_POP(crp) FROM visits
SELECT COVAR_SAMP(crp, los), COVAR_POP(crp, los), CORR(crp, los) FROM visits
SELECT ward, REGR_SLOPE(crp, los), REGR_INTERCEPT(crp, los), REGR_R2(crp, los), REGR_COUNT(crp, los), REGR_AVGX(crp, los), REGR_AVGY(crp, los) FROM visits GROUP BY ward
SELECT "ph.ecog", CORR(crp, crp), REGR_R2(los, crp), VAR_SAMP(los), STDDEV_POP(los) FROM visits GROUP BY "ph.ecog"
SELECT COUNT(*) FILTER (WHERE icu), COUNT(*) FILTER (WHERE NOT icu), COUNT(*) FILTER (WHERE icu IS NULL) FROM visits
SELECT AVG(crp) FILTER (WHERE los > 3), SUM(los) FILTER (WHERE ward = 'icu') FROM visits
SELECT COUNT(*) FROM visits WHERE crp > 1.25
SELECT COUNT(*) FROM visits WHERE crp = 0.1 OR crp = 0.15 OR crp <> 0.1
SELECT COUNT(*) FROM visits WHERE crp >= 0.05 AND crp < 499.95
SELECT COUNT(*) FROM visits WHERE temp > crp
SELECT COUNT(*) FROM visits WHERE temp * 2 - 1.5 > crp / 4 + los
SELECT COUNT(*) FROM visits WHERE ward IN ('icu', 'medicine')
SELECT COUNT(*) FROM visits WHERE ward NOT IN ('icu', 'medicine')
SELECT COUNT(*) FROM visits WHERE ward IN ('icu', NULL)
SELECT COUNT(*) FROM visits WHERE ward NOT IN ('icu', NULL)
SELECT COUNT(*) FROM visits WHERE los IN (1, 2, 40, -3, 99)
SELECT COUNT(*) FROM visits WHERE los NOT IN (1, 2, 40, -3)
SELECT COUNT(*) FROM visits WHERE crp IN (0, 0.1, 500, 0.05)
SELECT COUNT(*) FROM visits WHERE ward LIKE '%i%'
SELECT COUNT(*) FROM visits WHERE ward NOT LIKE 'S%'
SELECT COUNT(*) FROM visits WHERE ward LIKE 'nothing%'
SELECT COUNT(*) FROM visits WHERE ward NOT LIKE 'nothing%'
SELECT COUNT(*) FROM visits WHERE ward ILIKE 's_rg%y'
SELECT COUNT(*) FROM visits WHERE ward LIKE '%!_%' ESCAPE '!'
SELECT COUNT(*) FROM visits WHERE ward < 'icu'
SELECT COUNT(*) FROM visits WHERE ward BETWEEN 'Sa' AND 'j'
SELECT COUNT(*) FROM visits WHERE ward <> 'icu'
SELECT COUNT(*) FROM visits WHERE ward IS NULL OR ward = 'Surgery'
SELECT COUNT(*) FROM visits WHERE ward IS NOT NULL AND NOT (ward = 'Surgery' OR los > 3)
SELECT COUNT(*) FROM visits WHERE NOT (icu AND los > 3)
SELECT COUNT(*) FROM visits WHERE icu IS TRUE
SELECT COUNT(*) FROM visits WHERE icu IS NOT TRUE
SELECT COUNT(*) FROM visits WHERE icu IS FALSE OR (los > 3) IS NULL
SELECT COUNT(*) FROM visits WHERE (crp > 3) IS NOT FALSE
SELECT COUNT(*) FROM visits WHERE icu = TRUE OR icu = (los > 2)
SELECT COUNT(*) FROM visits WHERE day BETWEEN DATE '2020-01-01' AND DATE '2020-06-30'
SELECT COUNT(*) FROM visits WHERE day >= '2020-01-01' AND day < DATE '2021-01-01'
SELECT COUNT(*) FROM visits WHERE day + 10 > DATE '2020-12-31'
SELECT COUNT(*) FROM visits WHERE day - DATE '2020-01-01' > 100
SELECT COUNT(*) FROM visits WHERE date_diff('day', DATE '2020-01-01', day) < 100
SELECT COUNT(*) FROM visits WHERE day = DATE '2020-02-29' OR day = DATE '1999-01-01'
SELECT year(day), COUNT(*) FROM visits GROUP BY year(day)
SELECT year(day) AS y, month(day) AS m, COUNT(*), AVG(crp) FROM visits GROUP BY y, m ORDER BY y, m
SELECT EXTRACT(quarter FROM day), dayofweek(day), isodow(day), COUNT(*) FROM visits GROUP BY 1, 2, 3
SELECT date_part('month', day), SUM(los) FROM visits GROUP BY 1
SELECT dayofyear(day) // 100, COUNT(*) FROM visits GROUP BY 1
SELECT day, COUNT(*) FROM visits WHERE day < DATE '2019-11-20' GROUP BY day
SELECT los // 10 * 10 AS band, COUNT(*), AVG(crp) FROM visits GROUP BY band ORDER BY band
SELECT FLOOR(los / 10) AS band, COUNT(*) FROM visits GROUP BY 1
SELECT CEIL(los / 10) AS band, COUNT(*) FROM visits GROUP BY 1
SELECT los % 3, los % -3, COUNT(*) FROM visits GROUP BY 1, 2
SELECT los / 10, COUNT(*) FROM visits GROUP BY 1
SELECT los / 10 + 0.5, COUNT(*) FROM visits GROUP BY los / 10 + 0.5
SELECT abs(los), COUNT(*) FROM visits GROUP BY abs(los)
SELECT -los, COUNT(*) FROM visits GROUP BY -los ORDER BY -los
SELECT ROUND(temp), COUNT(*) FROM visits GROUP BY 1
SELECT ROUND(temp, 1), COUNT(*) FROM visits GROUP BY 1
SELECT ROUND(los, -1), COUNT(*) FROM visits GROUP BY 1
SELECT TRUNC(temp), COUNT(*) FROM visits GROUP BY 1
SELECT FLOOR(temp), CEIL(temp), COUNT(*) FROM visits GROUP BY 1, 2
SELECT CASE WHEN los < 0 THEN 'early' WHEN los < 10 THEN 'short' ELSE 'long' END AS stay, COUNT(*), AVG(temp) FROM visits GROUP BY stay
SELECT CASE WHEN los < 0 THEN 'early' WHEN los < 10 THEN 'short' END AS stay, COUNT(*) FROM visits GROUP BY ALL
SELECT CASE WHEN crp IS NULL THEN NULL WHEN crp < 250 THEN 1 ELSE 2 END, COUNT(*) FROM visits GROUP BY 1
SELECT CASE WHEN los < 10 THEN 0 WHEN los < 20 THEN 10000 ELSE 500000 END AS band, COUNT(*) FROM visits GROUP BY band
SELECT CASE ward WHEN 'icu' THEN 'intensive' WHEN 'Surgery' THEN 'other' ELSE 'none' END AS w, COUNT(*) FROM visits GROUP BY w
SELECT CASE WHEN los < 3 THEN 1.5 ELSE 2 END AS w, COUNT(*) FROM visits GROUP BY w
SELECT COALESCE(ward, 'unknown') AS w, COUNT(*) FROM visits GROUP BY w
SELECT COALESCE("ph.ecog", 9) AS e, COUNT(*) FROM visits GROUP BY e
SELECT NULLIF(los, 40) AS e, COUNT(*) FROM visits GROUP BY e
SELECT IF(icu, los, 0) AS e, COUNT(*) FROM visits GROUP BY e
SELECT los > 10 AS long_stay, icu, COUNT(*) FROM visits GROUP BY long_stay, icu
SELECT crp > 10 AS high, COUNT(*) FROM visits GROUP BY high
SELECT SUM(CASE WHEN los > 3 THEN 1 ELSE 0 END) FROM visits
SELECT ward, SUM(CASE WHEN icu THEN 1 ELSE 0 END), AVG(CASE WHEN icu THEN 1 ELSE 0 END) FROM visits GROUP BY ward
SELECT SUM(CASE WHEN los > 3 THEN 1 ELSE 0 END) FILTER (WHERE icu), SUM(CASE WHEN los > 3 THEN 2.5 ELSE 1 END) FROM visits
SELECT VAR_SAMP(CASE WHEN icu THEN 3 ELSE 1 END), AVG(CASE WHEN icu THEN los ELSE 0 END), STDDEV_POP(CASE WHEN icu THEN los ELSE 2 END) FROM visits
SELECT SUM(CASE WHEN icu THEN crp END), AVG(CASE WHEN icu THEN crp ELSE NULL END), COUNT(CASE WHEN icu THEN 1 END) FROM visits
SELECT COUNT(CASE WHEN icu THEN crp END), SUM(IF(icu, los, NULL)) FROM visits
SELECT COUNT(los > 3), COUNT(crp > 3), COUNT(crp + temp) FROM visits
SELECT SUM(icu), ward, AVG(CAST(icu AS INTEGER)) FROM visits GROUP BY ward
SELECT SUM(crp + temp), SUM(crp * 2), SUM(crp * temp), SUM(-crp), SUM(2 * los + 1), AVG(crp / 3) FROM visits
SELECT SUM(crp - los), SUM(los - crp), SUM((los + 1) * (crp - 0.5)), AVG(los * los) FROM visits
SELECT SUM(1), AVG(2), SUM(1.5), COUNT(1), VAR_SAMP(3) FROM visits
SELECT CORR(crp / 10, los + 5), COVAR_POP(2 * crp + 1, -los), REGR_SLOPE(crp * 2, los / 3) FROM visits
SELECT CORR(los, 1), REGR_SLOPE(los, 1) FROM visits
SELECT COUNT(*) - COUNT(crp), SUM(crp) / COUNT(*), SUM(los) / SUM(temp), 100.0 * COUNT(crp) / COUNT(*) FROM visits
SELECT AVG(crp) - AVG(temp), -AVG(crp), STDDEV_SAMP(crp) / SQRT(COUNT(crp)), ABS(SUM(los)) FROM visits
SELECT ROUND(AVG(crp), 2), ROUND(SUM(crp)), FLOOR(AVG(crp)), CEIL(SUM(crp)), ROUND(COUNT(*), -1) FROM visits
SELECT COUNT(*) // 7, COUNT(*) % 7, SUM(los) // -7, SUM(los) % 7 FROM visits
SELECT COUNT(*) / (COUNT(*) - COUNT(*)), (COUNT(*) - COUNT(*)) / 0, SQRT(-COUNT(*)) FROM visits
SELECT COALESCE(AVG(crp) FILTER (WHERE los = 99), -1), NULLIF(COUNT(*), COUNT(*)), CAST(COUNT(*) AS DOUBLE) FROM visits
SELECT SUM(crp), COUNT(*), AVG(crp), VAR_SAMP(crp), CORR(crp, los), REGR_R2(crp, los) FROM visits WHERE los = 99
SELECT ward, SUM(crp) FROM visits WHERE los = 99 GROUP BY ward
SELECT ward FROM visits GROUP BY ward
SELECT ward, icu, COUNT(*) FROM visits GROUP BY ward, icu HAVING COUNT(*) > 2
SELECT ward, COUNT(*) AS n FROM visits GROUP BY ward HAVING n > 2 AND AVG(crp) IS NOT NULL OR ward = 'icu'
SELECT ward, AVG(crp) FROM visits GROUP BY ward HAVING AVG(crp) BETWEEN 0 AND 300 AND NOT ward IN ('icu')
SELECT ward, AVG(crp) FROM visits GROUP BY ward HAVING COUNT(*) FILTER (WHERE icu) > 1
SELECT ward, COUNT(*) FROM visits GROUP BY ward ORDER BY ward
SELECT ward, COUNT(*) FROM visits GROUP BY ward ORDER BY ward DESC
SELECT ward, COUNT(*) FROM visits GROUP BY ward ORDER BY ward NULLS FIRST
SELECT ward, COUNT(*) FROM visits GROUP BY ward ORDER BY ward DESC NULLS FIRST LIMIT 2
SELECT ward, "ph.ecog", COUNT(*) AS n FROM visits GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT 5 OFFSET 1
SELECT los, AVG(crp) AS m FROM visits GROUP BY los ORDER BY m, los LIMIT 4
SELECT los, STDDEV_SAMP(crp) FROM visits GROUP BY los ORDER BY STDDEV_SAMP(crp) DESC NULLS LAST, los
SELECT los + 1 + 1 AS x, 2 * (los + 1) FROM visits GROUP BY los + 1 ORDER BY x
SELECT smoker, COUNT(*), SUM(born), AVG(born), VAR_SAMP(born) FROM patients GROUP BY smoker
SELECT born // 10 * 10 AS decade, sex, COUNT(*) FROM patients GROUP BY decade, sex ORDER BY 1, 2
SELECT p.sex, COUNT(*), AVG(v.crp) FROM patients p JOIN visits v ON p.pid = v.pid GROUP BY p.sex
SELECT sex, ward, COUNT(*), COUNT(crp), SUM(los) FROM patients LEFT JOIN visits USING (pid) GROUP BY sex, ward
SELECT p.smoker, CORR(p.born, v.crp), COUNT(v.los) FROM visits v JOIN patients p ON v.pid = p.pid WHERE p.sex <> 'd' OR v.icu GROUP BY 1
SELECT smoker, COUNT(*) FROM visits LEFT JOIN patients USING (pid) WHERE smoker IS NULL OR los > 2 GROUP BY smoker
SELECT a.icu, b.ward, COUNT(*) FROM visits a JOIN visits b ON a.pid = b.pid GROUP BY ALL
@wards SELECT beds // 10, COUNT(*), AVG(crp) FROM visits JOIN wards USING (ward) GROUP BY 1
@wards SELECT w.ward, SUM(w.beds), COUNT(*) FROM visits v LEFT JOIN wards w ON v.ward = w.ward GROUP BY w.ward
@wards SELECT beds, SUM(los), COUNT(crp) FROM wards JOIN visits USING (ward) GROUP BY beds
SELECT horTh, COUNT(*), AVG(age), STDDEV_SAMP(tsize), CORR(progrec, estrec) FROM gbsg2 WHERE menostat = 'Post' GROUP BY horTh
SELECT tgrade, AVG(cens), SUM(cens), COUNT(*) FILTER (WHERE cens = 1), CORR(cens, age) FROM gbsg2 GROUP BY tgrade ORDER BY tgrade
SELECT Menostat, TGRADE, COUNT(*) FROM GBSG2 G WHERE g.AGE BETWEEN 40 AND 60 GROUP BY menostat, "tgrade"
