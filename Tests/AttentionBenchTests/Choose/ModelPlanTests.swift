import Attention
import AttentionBench
import Foundation
import Testing

/// Plans for a model and files of sensitivities: what is written is read, what is damaged is named.
@Suite struct ModelPlanTests {
  private static let text = """
    {
      "format": "attnbench-model-plan", "version": 1,
      "layers": [
        {"layer": 4, "rel_l2_error": 0.1, "sensitivity": 0.019,
         "problem": {
           "batch": 1, "heads": 2, "kv_heads": 1, "n_q": 64, "n_kv": 64, "head_dim": 8,
           "value_dim": 8, "scale": 0.25, "causal": true, "query_offset": 0, "softcap": 30,
           "window_left": 31, "sink_logits": [0.5, 1]
         },
         "heads": ["window(16, sinks: 4)", "flash"]},
        {"layer": 7,
         "problem": {
           "batch": 1, "heads": 2, "kv_heads": 1, "n_q": 64, "n_kv": 64, "head_dim": 8,
           "value_dim": 8, "scale": 0.25, "causal": true, "query_offset": 0
         },
         "heads": ["flash", "flash"]}
      ]
    }
    """

  private func reading<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
    try withTemporaryDirectory { directory in
      let path = directory + "/plan.json"
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      return try body(path)
    }
  }

  private func shape(heads: Int = 2, n: Int = 64, dim: Int = 8) throws -> AttentionShape {
    try AttentionShape(heads: heads, kvHeads: 1, queryLength: n, headDim: dim)
  }

  @Test func aPlanIsReadAndHoldsAtAnyLength() throws {
    let plan = try reading(Self.text) { try ModelPlan(path: $0) }
    #expect(plan.layers.map(\.layer) == [4, 7] && plan.measured == nil)
    #expect(plan.layers[0].sensitivity == 0.019)
    for n in [64, 40, 130] {
      let problem = try plan.problem(ofLayer: 4, on: shape(n: n), path: "plan.json")
      #expect(problem.scale == 0.25 && problem.visibility.causal && problem.scoring.softcap == 30)
      #expect(problem.scoring.sinkLogits == [0.5, 1])
      #expect(problem.visibility.windowLeft == 31 && problem.visibility.mask == nil)
      #expect(problem.visibility.offset == .bottomRight)
    }
    let mix = try plan.mix(ofLayer: 4, path: "plan.json")
    #expect(mix.strategies.map(\.name) == ["window", "flash"])
    #expect(
      try plan.problem(ofLayer: 7, on: shape(), path: "plan.json").visibility.windowLeft == nil)
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    let plan = try reading(Self.text) { try ModelPlan(path: $0) }
    try withTemporaryDirectory { directory in
      try plan.write(to: directory + "/again.json")
      #expect(try ModelPlan(path: directory + "/again.json") == plan)
      guard case .model(let again) = try PlanFile(path: directory + "/again.json") else {
        Issue.record("a plan for a model is one")
        return
      }
      #expect(again == plan)
    }
  }

  @Test(arguments: [
    ("\"attnbench-model-plan\"", "\"x\"", "format 'x': must be 'attnbench-model-plan'"),
    ("\"version\": 1", "\"version\": 2", "version 2: this attnbench reads 1"),
    ("\"layer\": 7", "\"layer\": 4", "layers[1].layer 4"),
    ("\"layer\": 7", "\"layer\": -1", "layers[1].layer -1"),
    ("\"layer\": 7", "\"layer\": \"7\"", "layers[1].layer: must be a whole number"),
    ("[\"flash\", \"flash\"]", "[\"flash\"]", "layers[1].heads with 1 entries"),
    ("[\"flash\", \"flash\"]", "[]", "layers[1].heads with 0 entries"),
    ("\"n_kv\": 64, ", "", "layers[0].problem.n_kv: is missing"),
    ("{\n", "[\n", "not valid JSON"),
  ])
  func damageIsNamed(_ from: String, _ to: String, _ message: String) throws {
    let text = Self.text.replacingOccurrences(of: from, with: to)
    #expect(text != Self.text)
    let error = #expect(throws: ChoiceFileError.self) {
      try reading(text) { try ModelPlan(path: $0) }
    }
    let found = error?.description ?? ""
    #expect(found.contains("plan.json: ") && found.contains(message), "\(found)")
    #expect(found.contains("; "), "\(found)")
  }

  @Test func whatDoesNotFitIsNamed() throws {
    let plan = try reading(Self.text) { try ModelPlan(path: $0) }
    let missing = #expect(throws: ChoiceFileError.self) {
      try plan.mix(ofLayer: 5, path: "plan.json")
    }
    #expect(missing?.description.contains("layers of 4, 7: has no layer 5") == true)
    let size = #expect(throws: ChoiceFileError.self) {
      try plan.problem(ofLayer: 7, on: shape(dim: 9), path: "plan.json")
    }
    #expect(
      size?.description.contains("layers[1].problem.head_dim 8: the tensors have 9") == true)
    let unknown = try reading(Self.text.replacingOccurrences(of: "window(16", with: "windw(16")) {
      try ModelPlan(path: $0)
    }
    let error = #expect(throws: ChoiceFileError.self) {
      try unknown.mix(ofLayer: 4, path: "plan.json")
    }
    #expect(error?.field == "layers[0].heads[0]" && error?.rule.contains("'window'?") == true)
  }

  @Test func eitherKindOfPlanIsTold() throws {
    let error = #expect(throws: ChoiceFileError.self) {
      try reading(#"{"format": "something"}"#) { try PlanFile(path: $0) }
    }
    #expect(error?.description.contains("attnbench recommend") == true)
  }

  private static let sensitivities = """
    {"format": "attnbench-sensitivity", "version": 1, "text": "t.txt", "layers": [
      {"layer": 4, "sensitivity": 0.019}, {"layer": 20, "sensitivity": 0.42}]}
    """

  @Test func sensitivitiesAreReadByLayer() throws {
    let read = try reading(Self.sensitivities) { try LayerSensitivities(path: $0) }
    #expect(try read.values(of: [20, 4], path: "s.json") == [0.42, 0.019])
    let error = #expect(throws: ChoiceFileError.self) {
      try read.values(of: [4, 5], path: "s.json")
    }
    #expect(error?.description.contains("layers of 4, 20: has none for layer 5") == true)
  }

  @Test(arguments: [
    ("attnbench-sensitivity", "x", "format 'x'"),
    ("0.019", "-0.1", "layers[0].sensitivity -0.1: must be a finite number, 0 or more"),
    ("0.019", "\"a\"", "layers[0].sensitivity: must be a number"),
    ("\"layer\": 20", "\"layer\": 4", "layers[1].layer 4: each layer stands once"),
    (", \"sensitivity\": 0.42", "", "layers[1].sensitivity: is missing"),
  ])
  func damagedSensitivitiesAreNamed(_ from: String, _ to: String, _ message: String) throws {
    let text = Self.sensitivities.replacingOccurrences(of: from, with: to)
    #expect(text != Self.sensitivities)
    let error = #expect(throws: ChoiceFileError.self) {
      try reading(text) { try LayerSensitivities(path: $0) }
    }
    #expect(error?.description.contains(message) == true, "\(String(describing: error))")
  }
}
