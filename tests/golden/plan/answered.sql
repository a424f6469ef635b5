SELECT horTh, COUNT(*), AVG(age), STDDEV_SAMP(tsize), CORR(progrec, estrec)
FROM gbsg2
WHERE menostat = 'Post'
GROUP BY horTh
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- where menostat = 0
-- key horTh: horTh in [0, 1]
-- cohort 0: all
-- gate 0: cohort 0
-- gate 1: cohort 0, sums 0
-- gate 2: cohort 0, sums 1
-- gate 3: cohort 0, sums 2
-- gate 4: cohort 0, sums 3
-- gate 5: cohort 0, sums 4
-- gate 6: cohort 0, sums 5
-- gate 7: cohort 0, sums 6
-- gate 8: cohort 0, sums 7
-- sum 0: age over cohort 0, a row adds at most 100
-- sum 1: tsize over cohort 0, a row adds at most 150
-- sum 2: tsize * tsize over cohort 0, a row adds at most 22500
-- sum 3: progrec over cohort 0, a row adds at most 3000
-- sum 4: estrec over cohort 0, a row adds at most 1500
-- sum 5: progrec * progrec over cohort 0, a row adds at most 9000000
-- sum 6: estrec * estrec over cohort 0, a row adds at most 2250000
-- sum 7: estrec * progrec over cohort 0, a row adds at most 4500000
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: sum(age) each in [18, 100], field p, gate 1
-- value 2: sum(tsize) each in [0, 150], field p, gate 2
-- value 3: sum(tsize * tsize) each in [0, 22500], field p, gate 3
-- value 4: sum(progrec) each in [0, 3000], field p, gate 4
-- value 5: sum(estrec) each in [0, 1500], field p, gate 5
-- value 6: sum(progrec * progrec) each in [0, 9000000], field p, gate 6
-- value 7: sum(estrec * estrec) each in [0, 2250000], field p, gate 7
-- value 8: sum(estrec * progrec) each in [0, 4500000], field p, gate 8
-- output horTh text: k0
-- output COUNT(*) integer: v0
-- output AVG(age) double: avg(v0, v1)
-- output STDDEV_SAMP(tsize) double: stddev_samp(v0, v2, v3)
-- output CORR(progrec, estrec) double: corr(v0, v4, v5, v6, v7, v8)
-- uses gbsg2.age: aggregate
-- uses gbsg2.estrec: aggregate
-- uses gbsg2.horTh: group
-- uses gbsg2.menostat: filter
-- uses gbsg2.progrec: aggregate
-- uses gbsg2.tsize: aggregate

SELECT COUNT(*) FROM gbsg2
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output COUNT(*) integer: v0

SELECT ward, COUNT(crp), SUM(temp * 2.5 + 1) FROM visits WHERE crp > 1.25 GROUP BY ward HAVING AVG(crp) > 3 ORDER BY 2 DESC, ward NULLS FIRST LIMIT 3 OFFSET 1
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- where crp > 12
-- key ward: ward in [0, 2] and NULL
-- cohort 0: all
-- cohort 1: (temp is not null) is not true
-- cohort 2: temp is not null
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1
-- gate 2: cohort 2, and outside it 1, sums 0
-- gate 3: cohort 0, sums 1
-- sum 0: temp over cohort 2, a row adds at most 4500
-- sum 1: crp over cohort 0, a row adds at most 5000
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: count(*) each in [0, 1], field p, gate 1
-- value 2: sum(temp) each in [-500, 4500], field p, gate 2
-- value 3: sum(crp) each in [0, 5000], field p, gate 3
-- output ward text: k0
-- output COUNT(crp) integer: v0
-- output SUM(temp * 2.5 + 1) decimal(3): sum(v1, (1 v1 + 1/40 v2))
-- having avg(v0, (1/10 v3)) > 3
-- order by v0 descending, nulls last
-- order by k0 ascending, nulls first
-- limit 3 offset 1
-- uses visits.crp: aggregate, filter
-- uses visits.temp: aggregate
-- uses visits.ward: group

SELECT p.sex, AVG(v.crp) FILTER (WHERE v.icu) FROM patients p LEFT JOIN visits v USING (pid) GROUP BY p.sex
-- from patients as p, visits as v
-- left join on p.pid = v.pid
-- persons by p.pid, shared between owners; at most 2400 rows at 3 owners
-- key sex: p.sex in [0, 2]
-- cohort 0: all
-- cohort 1: ((v.crp is not null and v.icu = 1)) is not true
-- cohort 2: (v.crp is not null and v.icu = 1)
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1
-- gate 2: cohort 2, and outside it 1, sums 0, 1
-- sum 0: v.crp over cohort 2, a row adds at most 5000
-- sum 1: v.crp over cohort 1, a row adds at most 5000
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: sum(v.crp) each in [0, 5000], field p, gate 2
-- output sex text: k0
-- output AVG(v.crp) FILTER(WHERE v.icu) double: avg(v0, (1/10 v1))
-- uses patients.pid: join
-- uses patients.sex: group
-- uses visits.crp: aggregate
-- uses visits.icu: filter
-- uses visits.pid: join

SELECT SUM(CASE WHEN icu THEN 1 ELSE 0 END) FROM visits
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- cohort 0: all
-- cohort 1: (icu = 1) is not true
-- cohort 2: icu = 1
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: count(*) each in [0, 1], field p, gate 1
-- output SUM(CASE WHEN icu THEN 1 ELSE 0 END) integer: sum(v0, (0 v0 + 1 v1))
-- uses visits.icu: filter

SELECT SUM(CASE WHEN los > 3 THEN 1 ELSE 0 END) FILTER (WHERE icu) FROM visits
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- cohort 0: all
-- cohort 1: (icu = 1) is not true
-- cohort 2: icu = 1
-- cohort 3: (icu = 1 and ((icu = 1 and los > 3)) is not true)
-- cohort 4: ((icu = 1 and los > 3)) is not true
-- cohort 5: (icu = 1 and los > 3)
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1, 3
-- gate 2: cohort 5, and outside it 4, 3
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: count(*) each in [0, 1], field p, gate 2
-- output SUM(CASE WHEN los > 3 THEN 1 ELSE 0 END) FILTER(WHERE icu) integer: sum(v0, (0 v0 + 1 v1))
-- uses visits.icu: filter
-- uses visits.los: filter

SELECT AVG(cens), CORR(cens, age) FROM gbsg2
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- cohort 0: all
-- cohort 1: (cens = 0) is not true
-- cohort 2: cens = 0
-- gate 0: cohort 0
-- gate 1: cohort 0, and outside it 1, 2, sums 0, 1, 2
-- gate 2: cohort 0, sums 3
-- gate 3: cohort 0, and outside it 1, 2, sums 4, 5, 6
-- gate 4: cohort 0, sums 7
-- gate 5: cohort 0, and outside it 1, 2, sums 8, 9, 10
-- sum 0: cens over cohort 0, a row adds at most 1
-- sum 1: cens over cohort 1, a row adds at most 1
-- sum 2: cens over cohort 2, a row adds at most 1
-- sum 3: age over cohort 0, a row adds at most 100
-- sum 4: cens * cens over cohort 0, a row adds at most 1
-- sum 5: cens * cens over cohort 1, a row adds at most 1
-- sum 6: cens * cens over cohort 2, a row adds at most 1
-- sum 7: age * age over cohort 0, a row adds at most 10000
-- sum 8: age * cens over cohort 0, a row adds at most 100
-- sum 9: age * cens over cohort 1, a row adds at most 100
-- sum 10: age * cens over cohort 2, a row adds at most 100
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: sum(cens) each in [0, 1], field p, gate 1
-- value 2: sum(age) each in [18, 100], field p, gate 2
-- value 3: sum(cens * cens) each in [0, 1], field p, gate 3
-- value 4: sum(age * age) each in [324, 10000], field p, gate 4
-- value 5: sum(age * cens) each in [0, 100], field p, gate 5
-- output AVG(cens) double: avg(v0, v1)
-- output CORR(cens, age) double: corr(v0, v1, v2, v3, v4, v5)
-- uses gbsg2.age: aggregate
-- uses gbsg2.cens: aggregate

SELECT SUM(b1 * b2) FROM bits
-- from bits as bits
-- each row is a person; at most 300 rows at 3 owners
-- cohort 0: all
-- cohort 1: (((b1 = 0 and b2 = 0)) is not true and ((b1 = 0 and b2 = 1)) is not true and ((b1 = 1 and b2 = 0)) is not true)
-- cohort 2: (b1 = 1 and b2 = 0)
-- cohort 3: (b1 = 0 and b2 = 1)
-- cohort 4: (b1 = 0 and b2 = 0)
-- gate 0: cohort 0
-- gate 1: cohort 0, and outside it 1, 2, 3, 4, sums 0, 1, 2, 3, 4
-- sum 0: b1 * b2 over cohort 0, a row adds at most 1
-- sum 1: b1 * b2 over cohort 1, a row adds at most 1
-- sum 2: b1 * b2 over cohort 2, a row adds at most 1
-- sum 3: b1 * b2 over cohort 3, a row adds at most 1
-- sum 4: b1 * b2 over cohort 4, a row adds at most 1
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: sum((b1 * b2)) each in [0, 1], field p, gate 1
-- output SUM(b1 * b2) integer: sum(v0, v1)
-- uses bits.b1: aggregate
-- uses bits.b2: aggregate

SELECT CASE WHEN los < 0 THEN 'early' WHEN los < 10 THEN 'short' ELSE 'long' END AS stay, COUNT(*) FROM visits GROUP BY stay
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- key stay: case when los < 0 then 0 when los < 10 then 1 else 2 end in [0, 2]
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output stay text: k0
-- output COUNT(*) integer: v0
-- uses visits.los: group

SELECT age // 10 * 10 AS band, FLOOR(tsize / 50), COUNT(*) FROM gbsg2 GROUP BY band, 2 ORDER BY band
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- key band: (age // 10) in [1, 10]
-- key FLOOR(tsize / 50): (tsize floor/ 50) in [0, 3]
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output band integer: k0
-- output FLOOR(tsize / 50) double: k1
-- output COUNT(*) integer: v0
-- order by k0 ascending, nulls last
-- uses gbsg2.age: group
-- uses gbsg2.tsize: group

SELECT year(day), month(day), COUNT(*) FROM visits WHERE day BETWEEN DATE '2020-01-01' AND '2020-12-31' GROUP BY 1, 2
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- where (day >= 18262 and day <= 18627)
-- key YEAR(day): year(day) in [2019, 2021] and NULL
-- key MONTH(day): month(day) in [1, 12] and NULL
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output YEAR(day) integer: k0
-- output MONTH(day) integer: k1
-- output COUNT(*) integer: v0
-- uses visits.day: filter, group

SELECT COUNT(*) FROM visits WHERE ward LIKE '%i%' AND ward NOT IN ('icu') AND ward < 'j' AND NOT ward LIKE 'nothing'
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- where (ward in {0, 2} and not (ward = 0) and ward in {0, 1} and not (ward <> ward))
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output COUNT(*) integer: v0
-- uses visits.ward: filter

SELECT COUNT(*) FROM visits WHERE crp = 0.15 OR temp >= -4.995 OR los <> 99 OR los > 1000
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- where (crp <> crp or temp >= -499 or los = los or los > 41)
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output COUNT(*) integer: v0
-- uses visits.crp: filter
-- uses visits.los: filter
-- uses visits.temp: filter

SELECT VAR_SAMP(middling), VAR_SAMP(huge), COVAR_POP(huge, other) FROM wide
-- from wide as wide
-- each row is a person; at most 3000000 rows at 3 owners
-- cohort 0: all
-- gate 0: cohort 0
-- gate 1: cohort 0, sums 0
-- gate 2: cohort 0, sums 0, 1
-- gate 3: cohort 0, sums 2
-- gate 4: cohort 0, sums 2, 3
-- gate 5: cohort 0, sums 4
-- gate 6: cohort 0, sums 2, 4, 5
-- sum 0: middling over cohort 0, a row adds at most 1900000
-- sum 1: middling * middling over cohort 0, a row adds at most 3610000000000
-- sum 2: huge over cohort 0, a row adds at most 9007199254740992
-- sum 3: huge * huge over cohort 0, a row adds at most 81129638414606681695789005144064
-- sum 4: other over cohort 0, a row adds at most 9007199254740992
-- sum 5: huge * other over cohort 0, a row adds at most 81129638414606681695789005144064
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: sum(middling) each in [1000000, 1900000], field p, gate 1
-- value 2: sum((middling + -1450000) * (middling + -1450000)) each in [0, 202500000000], field p, gate 2
-- value 3: sum(huge) each in [0, 9007199254740992], field q, gate 3
-- value 4: sum((huge + -4503599627370496) * (huge + -4503599627370496)) each in [0, 20282409603651670423947251286016], field q, gate 4
-- value 5: sum(other) each in [9007199254000000, 9007199254740992], field q, gate 5
-- value 6: sum((huge + -4503599627370496) * (other + -9007199254370496)) each in [-1668565647542259286016, 1668565647542259286016], field q, gate 6
-- output VAR_SAMP(middling) double: var_samp(v0, v1, (-2102500000000 v0 + 2900000 v1 + 1 v2))
-- output VAR_SAMP(huge) double: var_samp(v0, v3, (-20282409603651670423947251286016 v0 + 9007199254740992 v3 + 1 v4))
-- output COVAR_POP(huge, other) double: covar_pop(v0, v3, v5, (-40564819205634775200352243286016 v0 + 9007199254370496 v3 + 4503599627370496 v5 + 1 v6))
-- uses wide.huge: aggregate
-- uses wide.middling: aggregate
-- uses wide.other: aggregate

SELECT 100.0 * COUNT(crp) / NULLIF(COUNT(*), 0), ROUND(AVG(crp), 1), COALESCE(SUM(los), 0) FROM visits
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- cohort 0: all
-- cohort 1: (crp is not null) is not true
-- cohort 2: crp is not null
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1
-- gate 2: cohort 2, and outside it 1, sums 0
-- gate 3: cohort 0, sums 1
-- sum 0: crp over cohort 2, a row adds at most 5000
-- sum 1: los over cohort 0, a row adds at most 40
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: count(*) each in [0, 1], field p, gate 0
-- value 2: sum(crp) each in [0, 5000], field p, gate 2
-- value 3: sum(los) each in [-3, 40], field p, gate 3
-- output 100.0 * COUNT(crp) / NULLIF(COUNT(*), 0) double: ((100 * v0) / nullif(v1, 0))
-- output ROUND(AVG(crp), 1) double: round(avg(v0, (1/10 v2)), 1)
-- output COALESCE(SUM(los), 0) integer: coalesce(sum(v1, v3), 0)
-- uses visits.crp: aggregate
-- uses visits.los: aggregate

SELECT REGR_SLOPE(crp, los), REGR_COUNT(crp, los), REGR_AVGX(crp, los) FROM visits
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- cohort 0: all
-- cohort 1: (crp is not null) is not true
-- cohort 2: crp is not null
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1
-- gate 2: cohort 2, and outside it 1, sums 0, 1
-- gate 3: cohort 2, and outside it 1, sums 2
-- gate 4: cohort 2, and outside it 1, sums 3, 4
-- gate 5: cohort 2, and outside it 1, sums 5
-- gate 6: cohort 2, and outside it 1, sums 6
-- sum 0: los over cohort 2, a row adds at most 40
-- sum 1: los over cohort 1, a row adds at most 40
-- sum 2: crp over cohort 2, a row adds at most 5000
-- sum 3: los * los over cohort 2, a row adds at most 1600
-- sum 4: los * los over cohort 1, a row adds at most 1600
-- sum 5: crp * crp over cohort 2, a row adds at most 25000000
-- sum 6: crp * los over cohort 2, a row adds at most 200000
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: sum(los) each in [-3, 40], field p, gate 2
-- value 2: sum(crp) each in [0, 5000], field p, gate 3
-- value 3: sum(los * los) each in [0, 1600], field p, gate 4
-- value 4: sum(crp * crp) each in [0, 25000000], field p, gate 5
-- value 5: sum(crp * los) each in [-15000, 200000], field p, gate 6
-- output REGR_SLOPE(crp, los) double: regr_slope(v0, v1, (1/10 v2), v3, (1/100 v4), (1/10 v5))
-- output REGR_COUNT(crp, los) integer: v0
-- output REGR_AVGX(crp, los) double: avg(v0, v1)
-- uses visits.crp: aggregate
-- uses visits.los: aggregate

SELECT a.icu, b.ward, COUNT(*) FROM visits a JOIN visits b ON a.pid = b.pid GROUP BY ALL
-- from visits as a, visits as b
-- inner join on a.pid = b.pid
-- persons by a.pid, shared between owners; at most 750000 rows at 3 owners
-- key icu: a.icu in [0, 1] and NULL
-- key ward: b.ward in [0, 2] and NULL
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output icu boolean: k0
-- output ward text: k1
-- output COUNT(*) integer: v0
-- uses visits.icu: group
-- uses visits.pid: join
-- uses visits.ward: group

SELECT "ph.ecog", COUNT(*) -- a comment is no part of a plan
FROM visits /* nor is this */
GROUP BY "ph.ecog"
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- key ph.ecog: ph.ecog in [0, 4] and NULL
-- cohort 0: all
-- gate 0: cohort 0
-- value 0: count(*) each in [0, 1], field p, gate 0
-- output ph.ecog integer: k0
-- output COUNT(*) integer: v0
-- uses visits.ph.ecog: group

SELECT SUM(tsize) FILTER (WHERE horTh = 'no'), SUM(tsize) FILTER (WHERE horTh = 'no' AND age < 91) FROM gbsg2
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- cohort 0: all
-- cohort 1: (horTh = 0) is not true
-- cohort 2: horTh = 0
-- cohort 3: (horTh = 0 and ((horTh = 0 and age < 91)) is not true)
-- cohort 4: ((horTh = 0 and age < 91)) is not true
-- cohort 5: (horTh = 0 and age < 91)
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1, 3
-- gate 2: cohort 2, and outside it 1, 3, sums 0, 1, 2
-- gate 3: cohort 5, and outside it 4, 3
-- gate 4: cohort 5, and outside it 4, 3, sums 2, 3, 4
-- sum 0: tsize over cohort 2, a row adds at most 150
-- sum 1: tsize over cohort 1, a row adds at most 150
-- sum 2: tsize over cohort 3, a row adds at most 150
-- sum 3: tsize over cohort 5, a row adds at most 150
-- sum 4: tsize over cohort 4, a row adds at most 150
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: sum(tsize) each in [0, 150], field p, gate 2
-- value 2: count(*) each in [0, 1], field p, gate 3
-- value 3: sum(tsize) each in [0, 150], field p, gate 4
-- output SUM(tsize) FILTER(WHERE horTh = 'no') integer: sum(v0, v1)
-- output SUM(tsize) FILTER(WHERE horTh = 'no' AND age < 91) integer: sum(v2, v3)
-- uses gbsg2.age: filter
-- uses gbsg2.horTh: filter
-- uses gbsg2.tsize: aggregate

SELECT SUM(crp), AVG(temp) FROM visits
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- cohort 0: all
-- cohort 1: (crp is not null) is not true
-- cohort 2: crp is not null
-- cohort 3: ((crp is not null) is not true and temp is not null)
-- cohort 4: (crp is not null and (temp is not null) is not true)
-- cohort 5: (((crp is not null) is not true and (temp is not null) is not true) or (crp is not null and temp is not null))
-- cohort 6: (temp is not null) is not true
-- cohort 7: temp is not null
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1, 3, 4, 5
-- gate 2: cohort 2, and outside it 1, 3, 4, 5, sums 0, 1, 2
-- gate 3: cohort 7, and outside it 6, 3, 4, 5
-- gate 4: cohort 7, and outside it 6, 3, 4, 5, sums 3, 4, 5
-- sum 0: crp over cohort 2, a row adds at most 5000
-- sum 1: crp over cohort 4, a row adds at most 5000
-- sum 2: crp over cohort 5, a row adds at most 5000
-- sum 3: temp over cohort 7, a row adds at most 4500
-- sum 4: temp over cohort 3, a row adds at most 4500
-- sum 5: temp over cohort 5, a row adds at most 4500
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: sum(crp) each in [0, 5000], field p, gate 2
-- value 2: count(*) each in [0, 1], field p, gate 3
-- value 3: sum(temp) each in [-500, 4500], field p, gate 4
-- output SUM(crp) decimal(1): sum(v0, (1/10 v1))
-- output AVG(temp) double: avg(v2, (1/100 v3))
-- uses visits.crp: aggregate
-- uses visits.temp: aggregate

SELECT SUM(crp), AVG(temp) FROM visits WHERE crp > 3 AND temp IS NOT NULL
-- from visits as visits
-- persons by pid, shared between owners; at most 1500 rows at 3 owners
-- where (crp > 30 and temp is not null)
-- cohort 0: all
-- gate 0: cohort 0
-- gate 1: cohort 0, sums 0
-- gate 2: cohort 0, sums 1
-- sum 0: crp over cohort 0, a row adds at most 5000
-- sum 1: temp over cohort 0, a row adds at most 4500
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: sum(crp) each in [0, 5000], field p, gate 1
-- value 2: sum(temp) each in [-500, 4500], field p, gate 2
-- output SUM(crp) decimal(1): sum(v0, (1/10 v1))
-- output AVG(temp) double: avg(v0, (1/100 v2))
-- uses visits.crp: aggregate, filter
-- uses visits.temp: aggregate, filter

SELECT AVG(tsize) FILTER (WHERE age < 40), AVG(tsize) FILTER (WHERE age > 40 AND age < 60), COUNT(*) FROM gbsg2
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- cohort 0: all
-- cohort 1: (age < 40) is not true
-- cohort 2: age < 40
-- cohort 3: ((age < 40) is not true and ((age > 40 and age < 60)) is not true)
-- cohort 4: ((age > 40 and age < 60)) is not true
-- cohort 5: (age > 40 and age < 60)
-- gate 0: cohort 0
-- gate 1: cohort 2, and outside it 1, 3
-- gate 2: cohort 2, and outside it 1, 3, sums 0, 1, 2
-- gate 3: cohort 5, and outside it 4, 3
-- gate 4: cohort 5, and outside it 4, 3, sums 2, 3, 4
-- sum 0: tsize over cohort 2, a row adds at most 150
-- sum 1: tsize over cohort 1, a row adds at most 150
-- sum 2: tsize over cohort 3, a row adds at most 150
-- sum 3: tsize over cohort 5, a row adds at most 150
-- sum 4: tsize over cohort 4, a row adds at most 150
-- value 0: count(*) each in [0, 1], field p, gate 1
-- value 1: sum(tsize) each in [0, 150], field p, gate 2
-- value 2: count(*) each in [0, 1], field p, gate 3
-- value 3: sum(tsize) each in [0, 150], field p, gate 4
-- value 4: count(*) each in [0, 1], field p, gate 0
-- output AVG(tsize) FILTER(WHERE age < 40) double: avg(v0, v1)
-- output AVG(tsize) FILTER(WHERE age > 40 AND age < 60) double: avg(v2, v3)
-- output COUNT(*) integer: v4
-- uses gbsg2.age: filter
-- uses gbsg2.tsize: aggregate

SELECT age // 10 * 10 AS band, AVG(age) FROM gbsg2 GROUP BY band
-- from gbsg2 as gbsg2
-- each row is a person; at most 3000 rows at 3 owners
-- key band: (age // 10) in [1, 10]
-- cohort 0: all
-- cohort 1: age <> 19
-- cohort 2: age <> 18
-- gate 0: cohort 0
-- gate 1: cohort 0, and outside it 1, 2, sums 0, 1, 2
-- sum 0: age over cohort 0, a row adds at most 100
-- sum 1: age over cohort 1, a row adds at most 100
-- sum 2: age over cohort 2, a row adds at most 100
-- value 0: count(*) each in [0, 1], field p, gate 0
-- value 1: sum(age) each in [18, 100], field p, gate 1
-- output band integer: k0
-- output AVG(age) double: avg(v0, v1)
-- uses gbsg2.age: aggregate, group
