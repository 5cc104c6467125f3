import Attention
import Testing

import DistributedAttention

@Suite struct DocumentsTests {
  private func problem(
    _ rows: Int, keys: Int? = nil, batch: Int = 1, visibility: Visibility = Visibility(causal: true)
  ) throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(batch: batch, heads: 2, queryLength: rows, keyLength: keys, headDim: 8),
      visibility: visibility)
  }

  @Test func rowsBelongToSequences() throws {
    let packed = try PackedSequences(
      queryOffsets: [0, 100, 100, 250], keyOffsets: [0, 40, 60, 300])
    let documents = try Documents(packed, in: problem(250, keys: 300))
    let parts = documents.parts(of: 90..<120)
    #expect(parts.map(\.sequence) == [0, 2])
    #expect(parts.map(\.rows) == [90..<100, 0..<20])
    #expect(documents.problem.geometry(batch: 2).offset == 240 - 150)
  }

  /// Whatever rows a rank has, those of a sequence lie together, and are numbered as the sequence does.
  @Test(arguments: [2, 3, 4], ShardOrder.allCases)
  func keysOfASequenceLieTogether(ranks: Int, order: ShardOrder) throws {
    let packed = try PackedSequences(queryOffsets: [0, 7, 7, 8, 150, 401])
    let documents = try Documents(packed, in: problem(401))
    let layout = try ShardLayout(length: 401, ranks: ranks, order: order)
    for sequence in 0..<packed.count {
      var seen: [Int] = []
      for rank in 0..<ranks {
        let segments = layout.segments(rank)
        let (keys, places) = documents.keys(segments, of: sequence)
        #expect(keys.rowCount == places.count)
        let global = segments.flatMap { Array($0.rows) }
        for segment in keys {
          for (index, row) in segment.rows.enumerated() {
            #expect(
              global[places.lowerBound + segment.start + index] == row + packed.keyOffsets[sequence]
            )
          }
          seen += segment.rows
        }
      }
      #expect(seen.sorted() == Array(0..<packed.keyLengths[sequence]))
    }
  }

  @Test func onlySequencesThatShardsCutTravel() throws {
    // The middle one of three lies on both of two ranks, one quarter of its rows on the second.
    let packed = try PackedSequences(queryOffsets: [0, 350, 550, 1000])
    let whole = try problem(1000)
    let documents = try Documents(packed, in: whole)
    let rows = try ShardLayout(length: 1000, ranks: 2, order: .contiguous)
    let flash = try StrategyRegistry.standard.strategy("flash")
    let halo = try Halo(flash, whole, documents: documents, queries: rows, keys: rows)
    #expect((0..<2).map(halo.rowsSent) == [150, 0])
  }

  @Test(arguments: [
    ("batch = 2: packed sequences are one batch entry", 2, 10, Visibility()),
    ("queryLength = 11: must be the query rows of all packed sequences, 10", 1, 11, Visibility()),
    ("queryLengths = given: packed sequences say", 1, 10, Visibility(queryLengths: [10])),
    ("keyLengths = given: packed sequences say", 1, 10, Visibility(keyLengths: [10])),
    ("prefixLengths = given: a prefix", 1, 10, Visibility(causal: true, prefixLengths: [2])),
    (
      "offset = [0]: packed sequences are one batch entry", 1, 10,
      Visibility(offset: .perBatch([0]))
    ),
  ])
  func whatDoesNotFitIsNamed(
    text: String, batch: Int, rows: Int, visibility: Visibility
  ) throws {
    let packed = try PackedSequences(queryOffsets: [0, 4, 10])
    let whole = try problem(rows, batch: batch, visibility: visibility)
    #expect {
      try Documents(packed, in: whole)
    } throws: { "\($0)".contains(text) }
  }
}
