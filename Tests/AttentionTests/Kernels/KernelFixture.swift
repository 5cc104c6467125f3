import Attention
import AttentionTestSupport
import CAttentionKernels
import CWideKernels
import Testing

/// One instruction set's micro-kernels, called with plain arrays.
struct KernelFixture: Sendable, CustomTestStringConvertible {
  let table: KernelTable
  /// Whether `attend` takes the exponentials that suit other processors than this.
  var takesOtherExponentials = false

  /// Every table that runs here: what is written for AVX-512 runs in its wide form where the
  /// processor has no such instructions.
  static let all = (KernelTable.supported + (KernelTable.wide.map { [$0] } ?? []))
    .map { KernelFixture(table: $0) }

  /// The same with all exponentials.
  static let exponentials =
    all
    + all.filter { $0.functions.attend_otherwise != nil }
    .map { KernelFixture(table: $0.table, takesOtherExponentials: true) }

  var testDescription: String {
    table.name + (takesOtherExponentials ? ", other exponentials" : "")
  }
  var functions: attn_kernels { table.functions.pointee }
  /// Online softmax over fp32 operands.
  var attend: KernelFunction {
    let other = takesOtherExponentials ? functions.attend_otherwise : nil
    return { panel, block in
      if let other {
        other(panel, block)
      } else {
        attn_attend(table.functions, ATTN_FP32, panel, block)
      }
    }
  }
  var lanes: Int { table.panelLanes }
  var vectorLanes: Int { table.vectorLanes }
  var vectorCounts: ClosedRange<Int> { 1...lanes / vectorLanes }
  /// Every run of vectors within a panel.
  var vectorRanges: [(first: Int, vectors: Int)] {
    vectorCounts.flatMap { vectors in
      (0...vectorCounts.upperBound - vectors).map { (first: $0, vectors: vectors) }
    }
  }
  /// A block cut into pieces at random, each for the panel's first or last vectors or for all of
  /// them, masked or not.
  func pieces(of count: Int, vectors: Int, _ generator: inout TestGenerator) -> [attn_piece] {
    var pieces: [attn_piece] = []
    var first = generator.pick(0...min(2, count - 1))
    while first < count, pieces.count < Int(ATTN_BLOCK_PIECES) {
      let keys = generator.pick(1...count - first)
      let used = generator.pick(1...vectors)
      pieces.append(
        attn_piece(
          first: Int32(first), count: Int32(keys),
          first_vector: generator.pick(0...1) == 0 ? 0 : Int32(vectors - used),
          vectors: Int32(used), masked: Int32(generator.pick(0...1))))
      first += keys + generator.pick(0...1)
    }
    return pieces
  }

  /// Counts of keys around one and two tiles.
  var counts: ClosedRange<Int> { 1...2 * table.tileKeys + 1 }
}

extension KernelTable {
  /// The AVX-512 table's parameters in plain vector code; nil where the processor cannot run that.
  static let wide = attn_wide_kernels().map { KernelTable(functions: $0) }
}

/// Rows of floats, each in its own place, and the pointers to them that kernels read.
final class RowTable {
  let columns: Int
  private let memory: UnsafeMutableBufferPointer<Float>
  let pointers: UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>

  /// Rows stand in descending order, an odd distance apart, with NaN between them.
  init(count: Int, columns: Int, _ value: (_ row: Int, _ column: Int) -> Float) {
    self.columns = columns
    let pitch = columns + 3
    memory = .allocate(capacity: count * pitch + 1)
    memory.initialize(repeating: .nan)
    pointers = .allocate(capacity: count)
    guard let base = memory.baseAddress else { fatalError("no rows") }
    for row in 0..<count {
      let start = base + (count - 1 - row) * pitch + 1
      pointers.initializeElement(at: row, to: start)
      for column in 0..<columns { start[column] = value(row, column) }
    }
  }

  deinit {
    memory.deallocate()
    pointers.deallocate()
  }

  subscript(row: Int, column: Int) -> Float { pointers[row][column] }

  /// NaNs between the rows that are still there.
  var nanCount: Int { memory.lazy.filter(\.isNaN).count }

  /// The pointers as kernels read rows of words.
  func withWords<R>(_ body: (UnsafePointer<UnsafeRawPointer>) throws -> R) rethrows -> R {
    let reading = pointers.map { UnsafeRawPointer($0) }
    return try reading.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { fatalError("no rows") }
      return try body(base)
    }
  }

  /// The pointers as kernels read them.
  func withReading<R>(
    _ body: (UnsafePointer<UnsafePointer<Float>>) throws -> R
  ) rethrows -> R {
    let reading = pointers.map { UnsafePointer($0) }
    return try reading.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { fatalError("no rows") }
      return try body(base)
    }
  }
}

/// |a - b| within `tolerance`, or the same infinity, or both NaN.
func isClose(_ a: Float, _ b: Double, within tolerance: Double) -> Bool {
  if b.isNaN { return a.isNaN }
  return Double(a) == b || abs(Double(a) - b) <= tolerance
}
