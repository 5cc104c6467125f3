import Attention
import AttentionBench
import Foundation
import MachineTopology
import Testing

@Suite struct HostMetadataTests {
  private func metadata() throws -> RunMetadata {
    .host(
      argv: ["attnbench", "sweep"], options: ["--n": "1000", "--budget": "540s"], seed: 1,
      topology: try .host())
  }

  @Test func everythingAboutTheHostIsFilled() throws {
    let metadata = try metadata()
    #expect(metadata.toolVersion == AttnbenchVersion.current)
    #expect(metadata.blas.library.hasPrefix("OpenBLAS 0."))
    #expect(!metadata.blas.core.isEmpty)
    #expect(metadata.blas.environment != nil && metadata.blas.percentOfPeak == nil)
    #expect(metadata.isaCompiled.contains(metadata.isaChosen))
    #expect(metadata.machine.cores >= 1)
    #expect(metadata.machine.memoryTotalBytes > metadata.machine.memoryAvailableBytes)
    #expect(!metadata.machine.hostname.isEmpty)
    #expect(metadata.machine.system.contains("Linux"))
    #expect(metadata.build.compiler.hasPrefix("Swift 6"))
    #expect(try self.metadata().runID != metadata.runID)
  }

  @Test func ceilingsSurviveTheFile() throws {
    var metadata = try metadata()
    var sweep = FakeSweep()
    sweep.sizes = [100]
    metadata.ceilings = try sweep.run().ceilings
    try withTemporaryDirectory { path in
      try RunDirectory(path: path, resuming: false).write(metadata)
      #expect(try RunDirectory.readMetadata(in: path).ceilings == metadata.ceilings)
    }
    #expect(metadata.ceilings?.count == 1)
  }

  @Test func aResumeAcceptsTheSameRunAndAnotherBudget() throws {
    let earlier = try metadata()
    var later = earlier
    later.runID = "another"
    later.startedAt = Date()
    later.options["--budget"] = "60s"
    #expect(later.differences(from: earlier).isEmpty)
  }

  @Test func aResumeNamesWhatDiffers() throws {
    let earlier = try metadata()
    var later = earlier
    later.machine.hostname = "elsewhere"
    later.build.commit = "f00"
    later.isaChosen = "avx2-forced"
    later.seed = 2
    later.options["--n"] = "2000"
    later.options["--scale"] = "0.5"
    let differences = later.differences(from: earlier)
    #expect(differences.count == 6)
    #expect(differences.contains("--n was 1000, is 2000"))
    #expect(differences.contains("--scale was unknown, is 0.5"))
    #expect(differences.contains("seed was 1, is 2"))
  }
}
