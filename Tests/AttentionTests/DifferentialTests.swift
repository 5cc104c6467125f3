import Attention
import AttentionTestSupport
import Testing

/// Random problems over every engine that serves them, against fp64 and against each other: panels,
/// decoding, stored scores, the score matrix times the values, and packed sequences.
@Suite struct DifferentialTests {
  @Test(arguments: 0..<50)
  func everyEngineAgrees(_ group: Int) throws {
    for number in 4 * group..<4 * group + 4 { try Self.check(number) }
  }

  /// Every engine and every form of pattern: one pass and two, consecutive keys and keys apart.
  static let specimens: [Specimen] = {
    let texts =
      [
        "flash", "flash(48, 8)", "full", "window(7)", "window(64, global: 3, sinks: 5)",
        "window(left: 3, right: 9)", "strided(5)", "fixed(8, 3)", "blockdiagonal(13)",
        "dilated(9, 3)", "chunked(13)", "bigbird(5, 2, 3, 1)",
      ] + ["f16", "bf16", "int8-token", "int8-channel"].map { "flash(kv: \($0))" }
      + (multipliesBFloat16
        ? ["flash(16, 8, arithmetic: bf16)"] : [])
    do {
      return try texts.map { Specimen(text: $0, strategy: try Specimen.registry.strategy($0)) }
    } catch {
      fatalError("a strategy under test does not parse: \(error)")
    }
  }()

  /// Runs a case on the instruction set in force.
  static func check(_ number: Int) throws {
    let test = try DifferentialCase(number)
    var known: [OracleRow?]?
    for specimen in specimens {
      let isStored = test.problem.storage.keyValue.isFloatingPoint
      if specimen.strategy.keyValueStorage != nil, !isStored { continue }
      if specimen.strategy.keyValueStorage == test.problem.storage.keyValue { continue }
      let run = try DifferentialRun(test, specimen, known: known)
      if specimen.strategy.isExactInFloat32 { known = run.truth }
      run.checkOutputs()
      try run.checkThreads()
      try run.checkARowAlone()
      try run.checkPacked()
      try run.checkScoreMatrix()
    }
  }
}

/// One case on one strategy.
struct DifferentialRun {
  let test: DifferentialCase
  let specimen: Specimen
  /// `[b, h, nQ]` rows by the definition; nil where a row is not in use.
  let truth: [OracleRow?]
  private let problem: AttentionProblem
  private let stored: StoredInputs
  /// What the stored elements stand for.
  private let inputs: TestInputs
  private let outputs: TestOutputs
  /// Errors that roundings explain.
  private let bounds: (output: Double, logSumExp: Double)

  /// - Parameter known: the rows of full attention, if they are known.
  init(_ test: DifferentialCase, _ specimen: Specimen, known: [OracleRow?]?) throws {
    self.test = test
    self.specimen = specimen
    problem = test.problem
    stored = StoredInputs(
      test.poisoned(test.inputs(), for: specimen.strategy), problem.storage)
    inputs = stored.widened()
    outputs = try Self.run(specimen, problem, stored, threads: test.threads)
    if let known, specimen.strategy.isExactInFloat32 {
      truth = known
    } else {
      truth = Self.truth(specimen, problem, inputs)
    }
    bounds = Self.bounds(specimen, problem, inputs)
  }

  private static func run(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: StoredInputs, threads: Int
  ) throws -> TestOutputs {
    let outputs = try specimen.run(problem, inputs, threads: threads)
    #expect(outputs.output.hasIntactPadding && outputs.logSumExp.hasIntactPadding)
    return TestOutputs(output: outputs.output.widened(), logSumExp: outputs.logSumExp)
  }

  private static func truth(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: TestInputs
  ) -> [OracleRow?] {
    let oracle = specimen.strategy.arithmeticOracle(for: problem)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
    var rows: [OracleRow?] = []
    inputs.query.forEachRow { batch, head, row in
      let isUsed = row < problem.geometry(batch: batch).queryLength
      rows.append(isUsed ? oracle.row(views, batch: batch, head: head, row: row) : nil)
    }
    return rows
  }

  /// A logit of terms whose sizes add up to S is off by a few times 2^-24 S, and so is each weight,
  /// relatively; the output is rounded once more as it is stored.
  private static func bounds(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: TestInputs
  ) -> (output: Double, logSumExp: Double) {
    func largest(_ tensor: TestTensor, _ size: (UnsafeMutableBufferPointer<Float>) -> Double)
      -> Double
    {
      var largest = 0.0
      tensor.forEachRow { batch, head, row in
        let values = tensor[batch, head, row]
        if values.allSatisfy(\.isFinite) { largest = max(largest, size(values)) }
      }
      return largest
    }
    func norm(_ row: UnsafeMutableBufferPointer<Float>) -> Double {
      row.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
    let slope = problem.visibility.alibiSlopes?.lazy.map(abs).filter { $0 <= 1 }.max() ?? 0
    let terms =
      4 + abs(Double(problem.scale)) * largest(inputs.query, norm) * largest(inputs.key, norm)
      + Double(slope) * Double(problem.shape.keyLength + problem.shape.queryLength)
    let value = largest(inputs.value) { $0.reduce(0) { max($0, Double(abs($1))) } }
    let products =
      specimen.strategy.arithmetic == .float32
      ? 0 : 1.01 * specimen.strategy.arithmetic.unitRoundoff
    let type = problem.storage.output
    let rounding = type == .float32 ? 0 : 1.01 * type.unitRoundoff * value + type.leastRoundoff
    let relative = 0x1p-21 * terms
    return (value * (relative + 2 * products) + rounding, relative + products)
  }

  /// Against fp64: rows that see nothing are exactly 0 and -inf, rows that are not in use untouched.
  func checkOutputs() {
    var wrong: [String] = []
    var index = 0
    outputs.output.forEachRow { batch, head, row in
      defer { index += 1 }
      let found = outputs.output[batch, head, row]
      let lse = outputs.logSumExp?[batch, head, row, 0] ?? .nan
      if !agrees(found, lse, truth[index]) {
        wrong.append(
          "[\(batch), \(head), \(row)]: \(Array(found)), \(lse) for "
            + (truth[index].map { "\($0)" } ?? "nothing"))
      }
    }
    #expect(wrong.isEmpty, "\(label): \(wrong.count) rows, \(wrong.first ?? "")")
  }

  private var label: String { "\(specimen.text), \(test), bounds \(bounds)" }

  /// - Parameter lse: nil where there is none.
  private func agrees(_ found: some Sequence<Float>, _ lse: Float?, _ truth: OracleRow?) -> Bool {
    guard let truth else { return found.allSatisfy(\.isNaN) && lse?.isNaN ?? true }
    if truth.logSumExp == -.infinity {
      return found.allSatisfy { $0 == 0 } && lse ?? -.infinity == -.infinity
    }
    let output = zip(found, truth.output).allSatisfy { abs(Double($0) - $1) <= bounds.output }
    guard let lse else { return output }
    return output && lse.isFinite
      && abs(Double(lse) - truth.logSumExp) <= bounds.logSumExp + 0x1p-22 * abs(truth.logSumExp)
  }

  /// Other numbers of workers, and a plan that has run, change no bit.
  func checkThreads() throws {
    let again = TestOutputs(problem)
    let team = Teams.of(test.threads % 3 + 1)
    let plan = try specimen.strategy.plan(for: problem, on: team)
    let work = try specimen.strategy.work(for: problem, threads: team.threadCount)
    #expect(work.workspaceBytes == plan.workspaceBytes, "\(label)")
    let output = StoredTensor(problem.shape.output, problem.storage.output)
    for _ in 0..<2 {
      try plan.run(
        AttentionOperands(
          query: stored.query.view, key: stored.key.view, value: stored.value.view,
          output: output.mutableView, logSumExp: again.logSumExp?.mutableView))
    }
    let isSame =
      output.widened().bits == outputs.output.bits
      && again.logSumExp?.bits == outputs.logSumExp?.bits
    #expect(isSame, "\(label): other bits on \(team.threadCount) threads")
  }

  /// A row by itself, which a few query heads make a matter of decoding, gives what it gives among
  /// others.
  func checkARowAlone() throws {
    let shape = problem.shape
    let used = (0..<shape.batch).map(test.queryLength).min() ?? 0
    if used < 2 { return }
    var generator = test.generator
    let row = generator.pick(0..<used)
    let alone = try problem.with { shape, _, visibility, _ in
      shape.queryLength = 1
      visibility.queryLengths = nil
      visibility.offset = .perBatch(
        (0..<shape.batch).map { problem.geometry(batch: $0).offset + row })
      visibility.mask = visibility.mask?.row(row)
      visibility.bias = visibility.bias?.row(row)
    }
    let own = TestTensor(alone.shape.query)
    own.fill { inputs.query[$0, $1, row, $3] }
    let outputs = try Self.run(
      specimen, alone, StoredInputs(query: own, stored, problem.storage), threads: 2)
    var wrong = 0
    outputs.output.forEachRow { batch, head, _ in
      let index = (batch * shape.heads + head) * shape.queryLength + row
      let lse = outputs.logSumExp?[batch, head, 0, 0]
      if !agrees(outputs.output[batch, head, 0], lse, truth[index]) { wrong += 1 }
    }
    #expect(wrong == 0, "\(label): row \(row) alone, \(wrong) heads")
  }

  /// Sequences behind each other give the bits that they give each in its own place.
  func checkPacked() throws {
    let shape = problem.shape
    guard problem.storage.isFloat32,
      let queries = problem.visibility.queryLengths
        ?? (shape.batch == 1 ? [shape.queryLength] : nil)
    else { return }
    let keys = problem.visibility.keyLengths ?? shape.batch.copies(of: shape.keyLength)
    if queries.max() != shape.queryLength || keys.max() != shape.keyLength { return }
    func starts(_ lengths: [Int]) -> [Int] {
      lengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) }
    }
    let packed = try PackedSequences(queryOffsets: starts(queries), keyOffsets: starts(keys))
    let problem = try problem.with { _, _, visibility, _ in
      (visibility.queryLengths, visibility.keyLengths) = (queries, keys)
    }
    func pack(_ tensor: TestTensor, _ lengths: [Int]) throws -> TestTensor {
      let whole = try TestTensor(
        TensorShape(
          1, tensor.shape.heads, lengths.reduce(0, +), tensor.shape.columns))
      tensor.forEachRow { batch, head, row in
        if row >= lengths[batch] { return }
        let place = lengths[..<batch].reduce(0, +) + row
        for column in 0..<tensor.shape.columns {
          whole[0, head, place, column] = tensor[batch, head, row, column]
        }
      }
      return whole
    }
    let (query, key, value) = try (
      pack(inputs.query, queries), pack(inputs.key, keys), pack(inputs.value, keys)
    )
    let rows = queries.reduce(0, +)
    let output = try TestTensor(TensorShape(1, shape.heads, rows, shape.valueDim))
    let lse = try TestTensor(TensorShape(1, shape.heads, rows, 1))
    try specimen.strategy.plan(for: problem, on: Teams.of(test.threads)).run(
      packed.operands(
        query: query.view, key: key.view, value: value.view, output: output.mutableView,
        logSumExp: lse.mutableView))
    guard let expectedLSE = outputs.logSumExp else { return }
    let isSame =
      try pack(outputs.output, queries).bits == output.bits
      && pack(expectedLSE, queries).bits == lse.bits
    #expect(isSame, "\(label): other bits when packed")
  }

  /// Weights times values are the output.
  func checkScoreMatrix() throws {
    let strategy = specimen.strategy
    guard strategy.arithmetic == .float32, strategy.keyValueStorage == nil else { return }
    let problem = try problem.storing(Storage())
    let weights = TestTensor(try ScoreMatrix.shape(for: problem))
    try ScoreMatrix.compute(
      .probabilities, of: problem, pattern: { strategy.pattern(for: $0) },
      query: inputs.query.view, key: inputs.key.view, into: weights.mutableView,
      on: Teams.of(test.threads))
    var (index, wrong) = (0, 0)
    weights.forEachRow { batch, head, row in
      defer { index += 1 }
      let weights = weights[batch, head, row]
      let kvHead = head / problem.shape.groupSize
      let output = (0..<problem.shape.valueDim).map { column in
        weights.indices.reduce(Float(0)) { sum, key in
          weights[key] == 0 ? sum : sum + weights[key] * inputs.value[batch, kvHead, key, column]
        }
      }
      if !agrees(output, nil, truth[index]) { wrong += 1 }
    }
    #expect(wrong == 0, "\(label): \(wrong) rows of weights times values")
  }
}

extension Int {
  fileprivate func copies<Element>(of element: Element) -> [Element] {
    Array(repeating: element, count: self)
  }
}

extension BroadcastTensor {
  /// One of the rows it stands for, for all.
  fileprivate func row(_ row: Int) -> BroadcastTensor {
    let rows = shape.heads * shape.batch
    guard let one = try? TensorShape(shape.batch, shape.heads, 1, shape.columns) else {
      fatalError("a row of \(shape) has no shape")
    }
    return BroadcastTensor(one) { elements in
      for index in 0..<rows {
        let source = self.row(index / shape.heads, index % shape.heads, row)
        for column in 0..<shape.columns {
          elements[index * shape.columns + column] = source[column]
        }
      }
    }
  }
}
