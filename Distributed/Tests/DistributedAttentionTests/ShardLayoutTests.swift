import Attention
import Testing

import DistributedAttention

@Suite struct ShardLayoutTests {
  @Test(arguments: [1, 2, 3, 4, 7], ShardOrder.allCases)
  func everyRowIsDealtOnce(ranks: Int, order: ShardOrder) throws {
    for length in [ranks, ranks + 1, 2 * ranks - 1, 2 * ranks, 100, 1001] where length >= ranks {
      let layout = try ShardLayout(length: length, ranks: ranks, order: order)
      var seen = [Int](repeating: 0, count: length)
      for rank in 0..<ranks {
        var next = 0
        for segment in layout.segments(rank) {
          #expect(segment.start == next)
          #expect(!segment.rows.isEmpty)
          next += segment.rows.count
          for row in segment.rows {
            seen[row] += 1
            let place = try #require(layout.place(of: row))
            #expect(place == (rank, segment.start + row - segment.rows.lowerBound))
          }
        }
        #expect(next == layout.count(rank))
        #expect(next >= 1)
      }
      #expect(seen.allSatisfy { $0 == 1 })
    }
  }

  @Test func zigzagBalancesCausalPairs() throws {
    func imbalance(_ order: ShardOrder) throws -> Double {
      let layout = try ShardLayout(length: 10_007, ranks: 8, order: order)
      let pairs = (0..<8).map { rank in
        layout.segments(rank).reduce(0) { $0 + $1.rows.reduce(0) { $0 + $1 + 1 } }
      }
      let most = try #require(pairs.max())
      return Double(most) * 8 / Double(pairs.reduce(0, +))
    }
    #expect(try imbalance(.zigzag) < 1.003)
    // The last of 8 contiguous blocks has 15/64 of the pairs instead of 8/64.
    #expect(try abs(imbalance(.contiguous) - 15.0 / 8) < 0.01)
  }

  @Test func moreRanksThanRowsAreRefused() {
    #expect {
      try ShardLayout(length: 3, ranks: 4, order: .contiguous)
    } throws: { error in
      "\(error)".contains("ranks = 4: must be at least 1 and at most n (3)")
    }
  }

  @Test func headsAreDealtInGroups() throws {
    let shape = try AttentionShape(heads: 10, kvHeads: 5, queryLength: 8, headDim: 4)
    let deal = try HeadDeal(shape, ranks: 3)
    #expect((0..<3).map(deal.kvHeadRange) == [0..<2, 2..<4, 4..<5])
    #expect((0..<3).map(deal.headRange) == [0..<4, 4..<8, 8..<10])
    #expect {
      try HeadDeal(shape, ranks: 6)
    } throws: { "\($0)".contains("scheme = alltoall: needs a key/value head for every rank") }
  }
}
