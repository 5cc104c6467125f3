import Attention
import AttentionBench
import Foundation
import Testing

/// Plan files: what is written is read again, and what is damaged is named.
@Suite struct HeadPlanTests {
  private static let text = """
    {
      "format": "attnbench-head-plan", "version": 1, "tool_version": "0.1.0",
      "problem": {
        "batch": 1, "heads": 4, "kv_heads": 2, "n_q": 64, "n_kv": 64, "head_dim": 8,
        "value_dim": 16, "scale": 0.25, "causal": true, "query_offset": 0
      },
      "heads": [
        {"head": 0, "strategy": "flash", "rel_l2_error": 3e-7},
        {"head": 1, "strategy": "window(16, sinks: 4)"},
        {"head": 2, "strategy": "flash"},
        {"head": 3, "strategy": "linear"}
      ]
    }
    """

  private func read(_ text: String) throws -> HeadPlan {
    try withTemporaryDirectory { directory in
      let path = directory + "/plan.json"
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      return try HeadPlan(path: path)
    }
  }

  private func shape(
    heads: Int = 4, kvHeads: Int = 2, n: Int = 64, keys: Int = 64, dim: Int = 8, value: Int = 16
  ) throws -> AttentionShape {
    try AttentionShape(
      heads: heads, kvHeads: kvHeads, queryLength: n, keyLength: keys, headDim: dim,
      valueDim: value)
  }

  @Test func aPlanWrittenByHandIsRead() throws {
    let plan = try read(Self.text)
    #expect(plan.measured == nil && plan.inputs == nil)
    #expect(plan.heads[0].relativeError == 3e-7)
    let problem = try plan.problem(on: shape())
    #expect(problem.scale == 0.25 && problem.visibility.causal)
    let mix = try plan.mix(path: "plan.json")
    #expect(
      mix.spec(for: problem) == "mix(flash x2, window(16, sinks: 4) x1, linear(elu) x1)")
    try plan.check(fits: shape(), path: "plan.json")
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    var choice = FakeChoice()
    choice.series = [["flash"], ["window(64)", "window(512)"]]
    choice.executor.errors = { strategy, problem in
      (0..<problem.shape.heads).map { head in
        let width = strategy.firstNumber(problem)
        return width == 64 && head > 1 ? 0.5 : 1e-3
      }
    }
    choice.executor.inner.seconds = { cell, _ in
      1e-3 * Double(max(cell.strategy.firstNumber(cell.problem), 1))
    }
    choice.requirements = Requirements(maximumError: 1e-2, holdsForEachHead: true)
    let result = try #require(try choice.engine().runPerHead())
    let problem = try choice.problem()
    let plan = HeadPlan(
      result, problem: problem, placement: SweepPlacement(threads: 2, binding: .none),
      inputs: "qkv.safetensors:layer0", isa: "avx512")
    #expect(plan.heads.map(\.strategy) == result.plan)
    try withTemporaryDirectory { directory in
      try plan.write(to: directory + "/plan.json")
      #expect(try HeadPlan(path: directory + "/plan.json") == plan)
    }
    #expect(plan.toolVersion == AttnbenchVersion.current)
    #expect(plan.problem.scale == problem.scale)
    #expect(plan.problem.elementType == .float32)
    #expect(plan.measured?.singleStrategy == result.single.choice)
  }

  /// What to replace, by what, and what the message must name.
  static let damages: [(from: String, to: String, field: String)] = [
    ("attnbench-head-plan", "something else", "format 'something else'"),
    ("\"version\": 1", "\"version\": 2", "version 2"),
    ("\"version\": 1", "\"version\": \"1\"", "version: must be a whole number"),
    ("\"heads\": 4", "\"heads\": 5", "heads with 4 entries"),
    ("\"head\": 2", "\"head\": 1", "heads[2].head 1"),
    ("\"n_q\": 64,", "", "problem.n_q: is missing"),
    ("\"scale\": 0.25", "\"scale\": \"x\"", "problem.scale: must be a number"),
    ("\"causal\": true", "\"causal\": 1", "problem.causal: must be true or false"),
    ("\"scale\"", "\"dtype\": \"f8\", \"scale\"", "problem.dtype: holds a value out of range"),
    (
      "\"strategy\": \"linear\"", "\"strategy\": null", "heads[3].strategy: must be a text"
    ),
    ("{\n", "[\n", "not valid JSON"),
  ]

  @Test(arguments: damages)
  func damageIsNamed(_ damage: (from: String, to: String, field: String)) throws {
    let text = Self.text.replacingOccurrences(of: damage.from, with: damage.to)
    #expect(text != Self.text)
    let error = #expect(throws: ChoiceFileError.self) { try read(text) }
    let message = error?.description ?? ""
    #expect(message.contains("plan.json: ") && message.contains(damage.field), "\(message)")
    #expect(message.contains("; "), "\(message)")
  }

  @Test func tensorsStoredOtherwiseAreMentioned() throws {
    let older = try read(Self.text)
    #expect(
      older.problem.caution(on: Storage(.bfloat16), path: "plan.json", remake: "recommend") == nil)
    let plan = try read(
      Self.text.replacingOccurrences(of: "\"scale\"", with: "\"dtype\": \"f32\", \"scale\""))
    #expect(plan.problem.caution(on: Storage(), path: "plan.json", remake: "recommend") == nil)
    for (elements, found, fix) in [
      (Storage(.bfloat16), "ran on bf16:", "--dtype bf16"),
      (Storage(.float32, keyValue: .float16), "ran on fp32 on fp16:", "--dtype f32"),
    ] {
      let text = try #require(
        plan.problem.caution(on: elements, path: "plan.json", remake: "recommend"))
      #expect(text.hasPrefix("plan.json was measured on fp32 tensors"))
      #expect(text.contains(found) && text.contains(fix), "\(text)")
    }
  }

  /// However a file is cut short, it is an error and no crash.
  @Test func aTornFileIsRefused() {
    for length in stride(from: 0, to: Self.text.utf8.count - 1, by: 7) {
      let text = String(decoding: Self.text.utf8.prefix(length), as: UTF8.self)
      #expect(throws: ChoiceFileError.self) { try read(text) }
    }
  }

  @Test func aFileThatIsNotThereIsNamed() {
    #expect(throws: RecordError.self) { try HeadPlan(path: "/nonexistent/plan.json") }
  }

  @Test func anUnknownStrategyIsNamedWithItsHead() throws {
    let plan = try read(Self.text.replacingOccurrences(of: "window(16", with: "windw(16"))
    let error = #expect(throws: ChoiceFileError.self) { try plan.mix(path: "plan.json") }
    #expect(error?.field == "heads[1].strategy")
    #expect(error?.rule.contains("did you mean 'window'?") == true)
  }

  @Test func tensorsThatDoNotFitAreRefused() throws {
    let plan = try read(Self.text)
    for (name, shape) in [
      ("problem.heads 4: the tensors have 8", try shape(heads: 8)),
      ("problem.kv_heads 2: the tensors have 4", try shape(kvHeads: 4)),
      ("problem.head_dim 8: the tensors have 9", try shape(dim: 9)),
      ("problem.value_dim 16: the tensors have 8", try shape(value: 8)),
      ("problem.n_q 64: the tensors have 65", try shape(n: 65)),
      ("problem.n_kv 64: the tensors have 65", try shape(keys: 65)),
    ] {
      let error = #expect(throws: ChoiceFileError.self) {
        try plan.check(fits: shape, path: "plan.json")
      }
      #expect(error?.description.contains(name) == true, "\(name)")
      #expect(error?.fix.contains("attnbench recommend --per-head") == true)
    }
  }
}
