#include "apps/report/audit_verdict.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace thorax::app;

namespace {

AuditFacts good() {
  AuditFacts f;
  f.headline_name = "net on lungs";
  f.headline = {0.90, 0.86, 0.94};
  f.controls = {{"Border", "Source", ControlKind::confounder, {0.53, 0.47, 0.59}},
                {"Random", "Leak", ControlKind::chance, {0.49, 0.44, 0.55}},
                {"By image", "Patients", ControlKind::leak, {0.90, 0.86, 0.94}},
                {"Random by image", "Patients", ControlKind::memory, {0.50, 0.45, 0.55}},
                {"Elsewhere", "Source", ControlKind::external, {0.88, 0.83, 0.92}}};
  f.heat_inside = 0.6;
  f.lung_area = 0.3;
  return f;
}

int warnings(const AuditFacts& f) {
  int count = 0;
  for (const Statement& s : audit_verdict(f)) count += s.severity == Severity::warning;
  return count;
}

std::string last(const AuditFacts& f) {
  return audit_verdict(f).back().text;
}

}  // namespace

TEST_CASE("verdict: nothing wrong") {
  CHECK(warnings(good()) == 0);
  CHECK(last(good()).find("carries over to another source") != std::string::npos);
  AuditFacts alone = good();
  alone.controls.pop_back();
  CHECK(warnings(alone) == 0);
  CHECK(last(alone).find("was not tested") != std::string::npos);
}

TEST_CASE("verdict: of three classes the macro AUC is named") {
  AuditFacts f = good();
  f.measure = "macro AUC";
  f.two_classes = false;
  f.classes_by_source = true;
  const std::vector<Statement> said = audit_verdict(f);
  CHECK(said[0].text.find(": macro AUC 0.900 (95 % interval 0.860 to 0.940)") != std::string::npos);
  CHECK(said[1].text.starts_with("Border: macro AUC 0.530 ("));
  bool sources = false;
  for (const Statement& s : said)
    sources =
        sources || s.text.find("No source has images of more than one class") != std::string::npos;
  CHECK(sources);
}

TEST_CASE("verdict: of several findings each is named that the source gives away") {
  AuditFacts f = good();
  f.measure = "macro AUC";
  f.two_classes = false;
  f.findings = true;
  CHECK(warnings(f) == 0);
  f.findings_by_source = {"Edema", "Mass"};
  CHECK(warnings(f) == 1);
  f.controls[4].figure = {0.80, 0.76, 0.84};
  CHECK(last(f).find("does not carry over") != std::string::npos);
  // External images may know fewer findings: beside the headline of these they hold.
  f.controls[4].headline = AucFigure{0.82, 0.78, 0.86};
  CHECK(last(f).find("carries over to another source") != std::string::npos);
  bool same = false, sources = false;
  for (const Statement& s : audit_verdict(f)) {
    same = same || s.text.find("-0.020 against the headline's 0.820 of the same findings") !=
                       std::string::npos;
    sources = sources || s.text.find("images of: Edema, Mass.") != std::string::npos;
  }
  CHECK(same);
  CHECK(sources);
  f.controls[0].figure.auc = std::nan("");
  CHECK(audit_verdict(f)[1].text.find("negative images of a finding are absent") !=
        std::string::npos);
  f = good();
  f.findings = true;
  f.headline = {0.55, 0.48, 0.62};
  CHECK(last(f).find("tell images with a finding from those without") != std::string::npos);
}

TEST_CASE("verdict: each fact alone turns it") {
  AuditFacts f = good();
  f.controls[0].figure = {0.72, 0.66, 0.78};  // 0.22 of 0.40
  CHECK(warnings(f) == 2);
  CHECK(last(f).find("comes close to it: Border") != std::string::npos);
  f = good();
  f.controls[0].figure = {0.69, 0.50, 0.87};  // less than half, but the intervals overlap
  CHECK(last(f).find("comes close to it: Border") != std::string::npos);
  CHECK(audit_verdict(f)[1].text.find("and the intervals overlap") != std::string::npos);
  f = good();
  f.headline = {0.80, 0.75, 0.85};
  f.controls[0].figure = {0.95, 0.90, 0.99};  // better than the headline
  CHECK(audit_verdict(f)[1].text.find("above the headline's interval") != std::string::npos);
  CHECK(audit_verdict(f)[1].text.find("overlap") == std::string::npos);
  f = good();
  f.controls[0].figure = {0.60, 0.54, 0.66};  // a quarter: worth a note
  CHECK(warnings(f) == 0);
  CHECK(audit_verdict(f)[1].severity == Severity::note);
  f = good();
  f.controls[1].figure = {0.61, 0.55, 0.67};
  CHECK(last(f).find("no figure of this run can be believed") != std::string::npos);
  f = good();
  f.controls[2].figure.auc = 0.95;
  CHECK(audit_verdict(f)[3].severity == Severity::note);
  f = good();
  f.controls[3].figure = {0.70, 0.64, 0.76};
  CHECK(audit_verdict(f)[4].severity == Severity::note);
  CHECK(warnings(f) == 0);
  f = good();
  f.controls[4].figure = {0.60, 0.52, 0.68};
  CHECK(last(f).find("does not carry over") != std::string::npos);
  f = good();
  f.classes_by_source = true;
  CHECK(warnings(f) == 1);
  f = good();
  f.duplicate_pairs_across_folds = 3;
  CHECK(warnings(f) == 1);
  f = good();
  f.heat_inside = 0.2;
  CHECK(warnings(f) == 1);
  f = good();
  f.headline = {0.55, 0.48, 0.62};
  CHECK(last(f).find("nothing to audit") != std::string::npos);
}

TEST_CASE("share explained: of what lies above chance") {
  CHECK(share_explained({0.9, 0, 1}, {0.7, 0, 1}) == doctest::Approx(0.5));
  CHECK(share_explained({0.9, 0, 1}, {0.3, 0, 1}) == 0);
  CHECK(share_explained({0.5, 0, 1}, {0.7, 0, 1}) == 0);
  CHECK(share_explained({std::nan(""), 0, 1}, {0.7, 0, 1}) == 0);
}
