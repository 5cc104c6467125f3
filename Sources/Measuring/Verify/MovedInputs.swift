import Attention
import MachineTopology
import RealModule
import Records
import Statistics
import Units

/// What oracles give for the checked rows where the inputs, or the weights of the keys, are off by a
/// rounding.
struct MovedInputs {
  private let check: AccuracyCheck
  private let shape: AttentionShape
  private let tensors: ProblemTensors
  /// What named operands may be moved within.
  private let domains: [String: ClosedRange<Float>]
  private let seed: UInt64
  private let team: WorkerTeam

  init(
    _ check: AccuracyCheck, _ shape: AttentionShape, _ tensors: ProblemTensors,
    domains: [String: ClosedRange<Float>], seed: UInt64, team: WorkerTeam
  ) {
    self.check = check
    self.shape = shape
    self.tensors = tensors
    self.domains = domains
    self.seed = seed
    self.team = team
  }

  /// One finite element in four is replaced by a neighbouring fp32 number, in named operands as far as
  /// their domain allows.
  ///
  /// A neighbour is at most 2u away, u = 2^-24 being the relative error of one rounding, so the
  /// root mean square of the change is at most u: as if every input had been rounded once more.
  ///
  /// - Parameter reach: which queries a row depends on.
  func roundingInputs(
    _ oracle: any AttentionOracle, reach: QueryReach
  ) throws(AttentionError) -> [OracleRow] {
    let named = try roundedOperands()
    return try forEachHead { (head, rows) throws(AttentionError) in
      var generator = SeededGenerator(seed: seed, path: [9, head.batch, head.kvHead])
      var key = HeadElements(tensors.key.view, head.batch, head.kvHead)
      var value = HeadElements(tensors.value.view, head.batch, head.kvHead)
      key.round(&generator)
      value.round(&generator)
      if reach == .row {
        var moved: [OracleRow] = []
        for row in rows {
          var query = HeadElements(tensors.query.view, row.batch, row.head, row: row.row)
          query.round(&generator)
          moved += try HeadElements.rows(oracle, query, key, value, named, [row])
        }
        return moved
      }
      // Rows that depend on the same queries together, and then back in their own order.
      let size = shape.groupSize
      let sharing = Dictionary(grouping: rows.indices) {
        reach == .head ? rows[$0].head : head.kvHead * size
      }.sorted { $0.key < $1.key }
      var moved = [OracleRow?](repeating: nil, count: rows.count)
      for (first, indices) in sharing {
        var query = HeadElements(
          tensors.query.view, head.batch, heads: first..<first + (reach == .head ? 1 : size))
        query.round(&generator)
        // Only one head is prepared at a time.
        for (_, indices) in Dictionary(grouping: indices, by: { rows[$0].head }) {
          let found = try HeadElements.rows(
            oracle, query, key, value, named, indices.map { rows[$0] })
          for (index, row) in zip(indices, found) { moved[index] = row }
        }
      }
      return moved.compactMap { $0 }
    }
  }

  /// What moving every key's weight by a relative d does, where `share` is the root mean square of
  /// d: that of eight draws together.
  ///
  /// An oracle is linear in the values: with weights p (1 + d) it gives O(v (1 + d)) / (1 + O(d)).
  func roundingWeights(
    _ oracle: any AttentionOracle, by share: Double, of plain: [OracleRow]
  ) throws(AttentionError) -> RowErrors {
    let range = share * Double(3).squareRoot()
    let named = tensors.named
    var errors = RowErrors()
    for draw in 0..<8 {
      let moved = try forEachHead { (head, rows) throws(AttentionError) in
        var generator = SeededGenerator(seed: seed, path: [10, draw, head.batch, head.kvHead])
        let key = HeadElements(tensors.key.view, head.batch, head.kvHead)
        var value = HeadElements(tensors.value.view, head.batch, head.kvHead)
        var moves = value
        for row in 0..<shape.keyLength {
          let change = Float(Double.random(in: -range...range, using: &generator))
          value.map(row) { $0 * (1 + change) }
          moves.map(row) { _ in change }
        }
        var moved: [OracleRow] = []
        for row in rows {
          let query = HeadElements(tensors.query.view, row.batch, row.head, row: row.row)
          let outputs = try HeadElements.rows(oracle, query, key, value, named, [row])
          let moves = try HeadElements.rows(oracle, query, key, moves, named, [row])
          for (output, move) in zip(outputs, moves) {
            let factor = 1 + (move.output.first ?? 0)
            moved.append(
              OracleRow(output: output.output.map { $0 / factor }, logSumExp: Double.log(factor)))
          }
        }
        return moved
      }
      for (row, reference) in zip(moved, plain) {
        errors.add(
          OracleRow(output: row.output, logSumExp: reference.logSumExp + row.logSumExp),
          reference: reference)
      }
    }
    return errors
  }

  /// All named operands, moved like the inputs.
  private func roundedOperands() throws(AttentionError) -> [String: Tensor] {
    var moved: [String: Tensor] = [:]
    for (name, tensor) in tensors.named {
      let copy = try Tensor(tensor.shape)
      var generator = SeededGenerator(seed: seed, path: [12] + name.utf8.map { Int($0) })
      let elements = copy.elements
      for (index, value) in tensor.elements.enumerated() {
        let neighbour = value.movedByRounding(&generator)
        elements[index] = domains[name]?.contains(neighbour) ?? true ? neighbour : value
      }
      moved[name] = copy
    }
    return moved
  }

  private typealias Head = (batch: Int, kvHead: Int)

  /// Calls `body` with every key/value head that checked rows belong to, and those rows, from all
  /// workers.
  private func forEachHead(
    _ body: @escaping (Head, [SampledRow]) throws(AttentionError) -> [OracleRow]
  ) throws(AttentionError) -> [OracleRow] {
    let places = Dictionary(grouping: check.rows.indices) { index in
      let row = check.rows[index]
      return row.batch * shape.kvHeads + row.head / shape.groupSize
    }.sorted { $0.key < $1.key }
    let found = try team.map(places.count) { (index) throws(AttentionError) in
      let (head, rows) = places[index]
      return try body(
        (head / shape.kvHeads, head % shape.kvHeads), rows.map { check.rows[$0] })
    }
    var all = [OracleRow?](repeating: nil, count: check.rows.count)
    for ((_, indices), rows) in zip(places, found) {
      for (index, row) in zip(indices, rows) { all[index] = row }
    }
    return all.compactMap { $0 }
  }
}

extension [OperandDeclaration] {
  /// The domains, by name.
  var domains: [String: ClosedRange<Float>] {
    reduce(into: [:]) { $0[$1.name] = $1.domain }
  }
}

extension Float {
  /// In one of four draws a neighbour of a finite number, otherwise the number itself.
  fileprivate func movedByRounding(_ generator: inout SeededGenerator) -> Float {
    guard isFinite else { return self }
    return switch generator.next() >> 61 {
    case 0: nextUp
    case 1: nextDown
    default: self
    }
  }
}

/// The elements of one head of a tensor, of one of its rows, or of neighbouring heads, in memory of their own.
private struct HeadElements {
  private var elements: [Float]
  private let columns: Int
  private let rows: Int
  /// The first of several heads; a single one stands for every head.
  private let firstHead: Int
  private let isOneHead: Bool

  init(_ view: TensorView, _ batch: Int, _ head: Int, row: Int? = nil) {
    self.init(view, batch, heads: head..<head + 1, rows: row.map { $0..<$0 + 1 })
  }

  init(_ view: TensorView, _ batch: Int, heads: Range<Int>, rows: Range<Int>? = nil) {
    columns = view.shape.columns
    let range = rows ?? 0..<view.shape.rows
    self.rows = range.count
    firstHead = heads.count == 1 ? 0 : heads.lowerBound
    isOneHead = heads.count == 1
    elements = heads.flatMap { head in
      range.flatMap { row in
        UnsafeBufferPointer(start: view.row(batch, head, row), count: view.shape.columns)
      }
    }
  }

  /// Moves one finite element in four to a neighbour.
  mutating func round(_ generator: inout SeededGenerator) {
    for index in elements.indices {
      elements[index] = elements[index].movedByRounding(&generator)
    }
  }

  mutating func map(_ row: Int, _ change: (Float) -> Float) {
    for index in row * columns..<(row + 1) * columns { elements[index] = change(elements[index]) }
  }

  /// What an oracle gives for rows of one head, where every head is the given one, and every query row the
  /// given one if it is alone.
  static func rows(
    _ oracle: any AttentionOracle, _ query: HeadElements, _ key: HeadElements,
    _ value: HeadElements, _ named: [String: Tensor], _ rows: [SampledRow]
  ) throws(AttentionError) -> [OracleRow] {
    try query.withView { (query) throws(AttentionError) in
      try key.withView { (key) throws(AttentionError) in
        try value.withView { (value) throws(AttentionError) in
          guard let first = rows.first else { return [] }
          let inputs = InputViews(
            query: query, key: key, value: value, named: named.mapValues(\.view))
          let prepared = oracle.prepared(inputs, batch: first.batch, head: first.head)
          return rows.map {
            prepared.row(inputs, batch: $0.batch, head: $0.head, row: $0.row)
          }
        }
      }
    }
  }

  /// Calls `body` with a view of which all batch entries and heads are these rows, or these heads where
  /// they are; a single row is every row.
  private func withView<Value>(
    _ body: (TensorView) throws(AttentionError) -> Value
  ) throws(AttentionError) -> Value {
    try elements.withUnsafeBufferPointer { (buffer) throws(AttentionError) in
      guard let base = buffer.baseAddress else {
        throw AttentionError(
          .shapeMismatch, argument: "tensor", value: "no elements", advice: "must have some")
      }
      let stride = isOneHead ? 0 : rows * columns
      return try body(
        TensorView(
          base - firstHead * stride, shape: TensorShape(1, 1, rows, columns),
          strides: (0, stride, rows == 1 ? 0 : columns)))
    }
  }
}
