import Attention

/// Rows of the whole sequence that lie together in a rank's tensors.
public struct Segment: Sendable, Hashable {
  /// Rows as the whole sequence counts them; not empty.
  public let rows: Range<Int>
  /// Where the first of them is among the rank's.
  public let start: Int

  /// Rows at a place.
  public init(rows: Range<Int>, start: Int) {
    self.rows = rows
    self.start = start
  }

  /// What is added to a row's number to get its place.
  var shift: Int { start - rows.lowerBound }
}

extension [Segment] {
  /// Segments one behind the other.
  package init(of ranges: [Range<Int>]) {
    self = []
    var start = 0
    for rows in ranges where !rows.isEmpty {
      append(Segment(rows: rows, start: start))
      start += rows.count
    }
  }

  /// Rows of all of them.
  package var rowCount: Int { reduce(0) { $0 + $1.rows.count } }
}

/// Which rows of a sequence each rank has.
public struct ShardLayout: Sendable, Hashable {
  /// Rows of the sequence.
  public let length: Int
  public let ranks: Int
  public let order: ShardOrder

  /// Deals rows to ranks, any number of them: blocks differ by one row at most.
  ///
  /// - Parameter argument: what the length is called in messages.
  /// - Throws: `AttentionError` of kind `invalidArgument` when there are more ranks than rows.
  public init(
    length: Int, ranks: Int, order: ShardOrder, argument: String = "n"
  ) throws(AttentionError) {
    guard ranks >= 1, ranks <= length else {
      throw AttentionError(
        .invalidArgument, argument: "ranks", value: ranks,
        advice: "must be at least 1 and at most \(argument) (\(length)): every rank needs a row; "
          + "start fewer ranks or use a longer sequence")
    }
    self.length = length
    self.ranks = ranks
    self.order = order
  }

  /// The rows of a rank, rising; two segments at most.
  public func segments(_ rank: Int) -> [Segment] {
    switch order {
    case .contiguous: [Segment](of: [block(rank, of: ranks)])
    case .zigzag:
      [Segment](of: [block(rank, of: 2 * ranks), block(2 * ranks - 1 - rank, of: 2 * ranks)])
    }
  }

  /// How many rows a rank has; at least 1.
  public func count(_ rank: Int) -> Int { segments(rank).rowCount }

  /// The rank that has a row, and its place there.
  public func place(of row: Int) -> (rank: Int, place: Int)? {
    for rank in 0..<ranks {
      for segment in segments(rank) where segment.rows.contains(row) {
        return (rank, row + segment.shift)
      }
    }
    return nil
  }

  private func block(_ index: Int, of count: Int) -> Range<Int> {
    let (size, longer) = length.quotientAndRemainder(dividingBy: count)
    let start = index * size + min(index, longer)
    return start..<start + size + (index < longer ? 1 : 0)
  }
}

/// Which heads each rank takes of all: whole groups that share a key/value head, as even as they go.
public struct HeadDeal: Sendable, Hashable {
  public let kvHeads: Int
  public let groupSize: Int
  public let ranks: Int

  /// Deals the heads of a shape.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` when there are more ranks than key/value heads.
  public init(_ shape: AttentionShape, ranks: Int) throws(AttentionError) {
    guard ranks <= shape.kvHeads else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: Scheme.alltoall.rawValue,
        advice: "needs a key/value head for every rank, and there are \(shape.kvHeads) for "
          + "\(ranks) ranks; take ring or allgather")
    }
    kvHeads = shape.kvHeads
    groupSize = shape.groupSize
    self.ranks = ranks
  }

  /// The key/value heads of a rank.
  public func kvHeadRange(of rank: Int) -> Range<Int> {
    let (size, longer) = kvHeads.quotientAndRemainder(dividingBy: ranks)
    let start = rank * size + min(rank, longer)
    return start..<start + size + (rank < longer ? 1 : 0)
  }

  /// The query heads of a rank.
  public func headRange(of rank: Int) -> Range<Int> {
    let own = kvHeadRange(of: rank)
    return own.lowerBound * groupSize..<own.upperBound * groupSize
  }
}
