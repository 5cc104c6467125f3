import Attention
import MachineTopology

/// The queries of a rank, worked on piece by piece, against keys as they come.
///
/// A piece is some rows of the query heads that share a key/value head. Between two pieces the rank looks
/// after its messages: that is what moves them while it computes. What a piece gets from one part of the
/// keys is merged with what it has through the LSE; the first part is written in place.
final class QueryPieces {
  private let strategy: any AttentionStrategy
  private let problem: AttentionProblem
  private let team: WorkerTeam
  private let pieces: [Piece]
  /// Whole patterns, one a batch entry; of packed sequences one each.
  private let patterns: [any KeyPattern]
  private let documents: Documents?
  private let merge: RowMerge
  private let partialOutput: Tensor
  private let partialLogSumExp: Tensor
  /// `[b, hKV, pieces]`: whether output and LSE hold something.
  private var hasResult: [Bool]
  private var plans: [PlanKey: [(plan: any AttentionPlan, keys: Range<Int>)]] = [:]
  private var planBytes = 0
  private(set) var largestPlanBytes = 0

  /// Rows of the rank that are worked on together.
  private struct Piece {
    /// Which of packed sequences they belong to.
    let sequence: Int?
    /// As their sequence numbers them, and where they are among the rank's.
    let rows: Segment
  }

  private struct PlanKey: Hashable {
    let piece: Int
    let geometry: MaskGeometry
    let keys: [Segment]
  }

  /// Rows of a piece that one worker computes: long enough that starting is nothing, short enough that
  /// messages do not wait.
  private static let rowsPerWorker = 4096
  /// Pieces of a rank at most.
  private static let mostPieces = 32
  /// (query, key) pairs that a worker scores between two looks after messages: some tenths of a second.
  private static let pairsPerWorker = 1 << 27
  /// Plans that are kept for the next keys or the next run.
  private static let keptPlanBytes = 12 << 20

  /// - Parameters:
  ///   - documents: packed sequences that the problem's rows are.
  ///   - queries: the rank's rows.
  /// - Throws: `AttentionError` naming what cannot be served, or of kind `outOfMemory`.
  init(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, documents: Documents? = nil,
    queries: [Segment], team: WorkerTeam
  ) throws(AttentionError) {
    try strategy.refuseUnlessSliceable(problem)
    self.strategy = strategy
    self.problem = problem
    self.documents = documents
    self.team = team
    patterns = strategy.patterns(for: documents?.problem ?? problem)
    let most = max(
      Self.rowsPerWorker * team.threadCount / problem.shape.groupSize, 1,
      (queries.rowCount + Self.mostPieces - 1) / Self.mostPieces)
    pieces = queries.flatMap { segment in
      var start = segment.start
      let parts =
        documents?.parts(of: segment.rows).map { (sequence: Int?($0.sequence), rows: $0.rows) }
        ?? [(sequence: nil, rows: segment.rows)]
      return parts.flatMap { part in
        let count = (part.rows.count + most - 1) / most
        return (0..<count).map { index in
          let (first, next) = (
            part.rows.count * index / count, part.rows.count * (index + 1) / count
          )
          let rows = part.rows.lowerBound + first..<part.rows.lowerBound + next
          defer { start += rows.count }
          return Piece(sequence: part.sequence, rows: Segment(rows: rows, start: start))
        }
      }
    }
    hasResult = Array(
      repeating: false, count: problem.shape.batch * problem.shape.kvHeads * pieces.count)
    merge = RowMerge(workers: team.threadCount)
    let longest = pieces.map(\.rows.rows.count).max() ?? 1
    partialOutput = try Tensor(
      TensorShape(1, problem.shape.groupSize, longest, problem.shape.valueDim))
    partialLogSumExp = try Tensor(TensorShape(1, problem.shape.groupSize, longest, 1))
  }

  /// Bytes beyond the tensors: what is merged, and plans.
  var workspaceBytes: Int {
    4 * (partialOutput.shape.count + partialLogSumExp.shape.count) + largestPlanBytes
  }

  /// Forgets results, for a new run.
  func begin() {
    for index in hasResult.indices { hasResult[index] = false }
  }

  /// Takes in some keys of a key/value head.
  ///
  /// - Parameters:
  ///   - keys: which of the whole sequence's they are.
  ///   - splitsKeys: whether many keys may be taken in one part after the other, which merges rows more often
  ///     and lets messages wait less.
  ///   - between: called after each piece.
  /// - Throws: `AttentionError` of kind `outOfMemory`; what `between` throws.
  func attend(
    _ tensors: ShardTensors, batch: Int, kvHead: Int, keys: [Segment], key: HeadRows,
    value: HeadRows, splitsKeys: Bool = true, between: () throws -> Void
  ) throws {
    let rows = partialOutput.shape.rows * problem.shape.groupSize
    let most = max(Self.pairsPerWorker * team.threadCount / rows, 4096)
    let count = splitsKeys ? max((key.rows + most - 1) / most, 1) : 1
    for index in 0..<count {
      let part = key.rows * index / count..<key.rows * (index + 1) / count
      try attend(
        tensors, batch, kvHead, keys: count == 1 ? keys : keys.part(part), key: key.rows(part),
        value: value.rows(part), between: between)
    }
  }

  private func attend(
    _ tensors: ShardTensors, _ batch: Int, _ kvHead: Int, keys: [Segment], key: HeadRows,
    value: HeadRows, between: () throws -> Void
  ) throws {
    let shape = problem.shape
    let heads = kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize
    for (index, piece) in pieces.enumerated() {
      for plan in try plans(for: index, batch: batch, keys: keys) {
        let count = plan.plan.problem.shape.queryLength
        let rows = piece.rows.start..<piece.rows.start + count
        let place = (batch * shape.kvHeads + kvHead) * pieces.count + index
        let isFirst = !hasResult[place]
        hasResult[place] = true
        let part = plan.keys
        let longest = partialOutput.shape.rows
        let output =
          isFirst
          ? try tensors.output.mutablePart(batch, heads: heads, rows: rows)
          : try partialOutput.mutablePart(0, heads: 0..<shape.groupSize, rows: 0..<count)
        let logSumExp =
          isFirst
          ? try tensors.logSumExp.mutablePart(batch, heads: heads, rows: rows)
          : try partialLogSumExp.mutablePart(0, heads: 0..<shape.groupSize, rows: 0..<count)
        try plan.plan.run(
          AttentionOperands(
            query: tensors.query.part(batch, heads: heads, rows: rows),
            key: TensorView(
              key.rows(part).base, shape: TensorShape(1, 1, part.count, shape.headDim)),
            value: TensorView(
              value.rows(part).base, shape: TensorShape(1, 1, part.count, shape.valueDim)),
            output: output, logSumExp: logSumExp))
        if !isFirst {
          merge.set(
            RowMerge.Rows(
              output: partialOutput.mutableView.base,
              logSumExp: partialLogSumExp.mutableView.base, headRows: longest),
            into: RowMerge.Rows(
              output: tensors.output.headRows(batch, heads.lowerBound).rows(rows).base,
              logSumExp: tensors.logSumExp.headRows(batch, heads.lowerBound).rows(rows).base,
              headRows: tensors.output.shape.rows),
            heads: shape.groupSize, rows: count, columns: shape.valueDim)
          team.run(merge)
        }
        try between()
      }
    }
  }

  /// Ends a run: rows that met no keys get what rows without keys have, and sink logits are taken in.
  func end(_ tensors: ShardTensors) {
    let shape = problem.shape
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        let output = tensors.output.headRows(batch, head)
        let logSumExp = tensors.logSumExp.headRows(batch, head)
        let sink = problem.scoring.sinkLogits?[head] ?? -.infinity
        for (index, piece) in pieces.enumerated() {
          let place = (batch * shape.kvHeads + head / shape.groupSize) * pieces.count + index
          // Rows past a query length are not written.
          let queryLength = patterns[piece.sequence ?? batch].geometry.queryLength
          let count = min(piece.rows.rows.count, queryLength - piece.rows.rows.lowerBound)
          guard count > 0 else { continue }
          for row in piece.rows.start..<piece.rows.start + count {
            let columns = output.base + row * output.columns
            if !hasResult[place] {
              columns.update(repeating: 0, count: output.columns)
              logSumExp.base[row] = -.infinity
            } else if sink > -.infinity, logSumExp.base[row] > -.infinity {
              let weights = RowMerge.weights(logSumExp.base[row], sink)
              logSumExp.base[row] = weights.logSumExp
              for column in 0..<output.columns { columns[column] *= weights.first }
            }
          }
        }
      }
    }
  }

  /// The plans of a piece against some keys, with the place of their keys; none where no row sees any.
  private func plans(
    for index: Int, batch: Int, keys: [Segment]
  ) throws(AttentionError) -> [(plan: any AttentionPlan, keys: Range<Int>)] {
    let piece = pieces[index]
    let pattern = patterns[piece.sequence ?? batch]
    let key = PlanKey(piece: index, geometry: pattern.geometry, keys: keys)
    if let known = plans[key] { return known }
    let rows = piece.rows.rows.clamped(to: 0..<max(pattern.geometry.queryLength, 0))
    var own = (keys: keys, places: 0..<keys.rowCount)
    if let documents, let sequence = piece.sequence {
      own = documents.keys(keys, of: sequence)
    }
    let made = try strategy.plans(problem, whole: pattern, rows: rows, keys: own.keys, on: team)
      .map { plan, keys in
        let first = own.places.lowerBound
        return (plan: plan, keys: keys.lowerBound + first..<keys.upperBound + first)
      }
    let bytes = made.reduce(0) { $0 + $1.plan.workspaceBytes }
    if planBytes + bytes > Self.keptPlanBytes {
      plans.removeAll()
      planBytes = 0
    }
    plans[key] = made
    planBytes += bytes
    largestPlanBytes = max(largestPlanBytes, planBytes)
    return made
  }
}

extension AttentionStrategy {
  /// Whether it is softmax over a pattern that is known beforehand, which can be cut along the keys.
  var isSliceable: Bool {
    operatorClass != .different && !selectsKeys && operands.isEmpty
      && (self is any PatternStrategy || operatorClass == .exact)
  }

  /// The pattern of each batch entry.
  func patterns(for problem: AttentionProblem) -> [any KeyPattern] {
    (0..<problem.shape.batch).map { pattern(for: problem.geometry(batch: $0)) }
  }

  /// - Throws: `AttentionError` of kind `invalidArgument` naming what parts of a sequence cannot serve.
  func refuseUnlessSliceable(_ problem: AttentionProblem) throws(AttentionError) {
    guard isSliceable else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: "for \(name)",
        advice: operatorClass == .different
          ? "partial results of another function than softmax do not merge; take states "
            + "(recurrent family, causal) or alltoall"
          : "keys that are selected from the data are known only where all of them are; take alltoall"
      )
    }
    guard keyValueStorage == nil else {
      throw AttentionError(
        .invalidArgument, argument: "kv", value: keyValueStorage?.rawValue ?? "",
        advice: "keys and values that travel are fp32; leave it out, or take alltoall")
    }
    try problem.refuseUnlessShardable()
  }

  /// Plans that give rows of a problem their share of some keys, to be merged; none where no row sees any.
  ///
  /// - Parameters:
  ///   - rows: of the whole problem.
  ///   - keys: the keys at hand.
  fileprivate func plans(
    _ problem: AttentionProblem, whole: any KeyPattern, rows: Range<Int>, keys: [Segment],
    on team: WorkerTeam
  ) throws(AttentionError) -> [(plan: any AttentionPlan, keys: Range<Int>)] {
    guard !rows.isEmpty, !keys.isEmpty else { return [] }
    guard let pattern = self as? any PatternStrategy else {
      var plans: [(plan: any AttentionPlan, keys: Range<Int>)] = []
      for segment in keys {
        let part = try plan(problem, whole.geometry, rows: rows, keys: segment, on: team)
        if let part { plans.append(part) }
      }
      return plans
    }
    let part = try problem.part(rows: rows, offset: whole.geometry.offset, keys: keys.rowCount)
    let sliced = SlicedPattern(whole, geometry: part.geometry(batch: 0), segments: keys)
    if sliced.isEmpty { return [] }
    return [(try pattern.engine.plan(for: part, on: team) { _ in sliced }, 0..<keys.rowCount)]
  }

  /// A plan of the strategy's own for one segment of keys, whose mask says all: positions are counted from
  /// the segment's first key.
  private func plan(
    _ problem: AttentionProblem, _ whole: MaskGeometry, rows: Range<Int>, keys: Segment,
    on team: WorkerTeam
  ) throws(AttentionError) -> (plan: any AttentionPlan, keys: Range<Int>)? {
    let first = keys.rows.lowerBound
    let inUse = min(max(whole.keyLength - first, 0), keys.rows.count)
    if whole.chunk > 0, first % whole.chunk != 0 {
      throw AttentionError(
        .invalidArgument, argument: "chunk", value: whole.chunk,
        advice: "\(name) takes keys from \(first) on, which cuts a chunk; take flash")
    }
    let part = try problem.part(
      rows: rows, offset: whole.offset - first, keys: keys.rows.count
    ).with { _, _, visibility, _ in
      visibility.causal = whole.causal
      if inUse < keys.rows.count { visibility.keyLengths = [inUse] }
      if whole.prefixLength > first {
        visibility.prefixLengths = [min(whole.prefixLength - first, inUse)]
      }
      visibility.windowLeft = problem.visibility.windowLeft
      visibility.windowRight = problem.visibility.windowRight
      visibility.chunk = problem.visibility.chunk
    }
    if pattern(for: part.geometry(batch: 0)).isEmpty { return nil }
    return (
      try self.plan(for: part, on: team) as any AttentionPlan,
      keys.start..<keys.start + keys.rows.count
    )
  }
}

extension KeyPattern {
  /// Whether no row sees a key.
  fileprivate var isEmpty: Bool {
    let (first, count) = (geometry.offset, geometry.queryLength)
    for (pass, rowStride) in rowStrides.enumerated() {
      let sequences = sequences(pass: pass, residue: (first % rowStride + rowStride) % rowStride)
      for index in sequences.indices {
        for row in 0..<count
        where !range(pass: pass, sequence: index, position: first + row).isEmpty { return false }
      }
    }
    return true
  }
}

extension AttentionProblem {
  /// - Throws: `AttentionError` of kind `invalidArgument` naming an option that ranks do not serve.
  func refuseUnlessShardable() throws(AttentionError) {
    for (name, isUsed) in [
      ("mask", visibility.mask != nil), ("bias", visibility.bias != nil),
      ("alibiSlopes", visibility.alibiSlopes != nil), ("storage", !storage.isFloat32),
    ] where isUsed {
      throw AttentionError(
        .invalidArgument, argument: name, value: "given",
        advice: "is not served over several ranks; leave it out, or run in one process")
    }
  }

  /// Rows of one group of heads against keys of their own numbering, with nothing hidden.
  fileprivate func part(
    rows: Range<Int>, offset: Int, keys: Int
  ) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        heads: shape.groupSize, kvHeads: 1, queryLength: rows.count, keyLength: keys,
        headDim: shape.headDim, valueDim: shape.valueDim),
      // Sinks are taken in once, at the end.
      scoring: Scoring(scale: scale, softcap: scoring.softcap),
      visibility: Visibility(offset: .fixed(offset + rows.lowerBound)))
  }
}
